import logging
import subprocess
import sys

import pytest

from jobs.telemetry import log_context, tracing
from tests.support import ROOT
from transcribe_platform.logs import ConsoleFormatter, JsonFormatter, choose_format

THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_traceparent_is_read_and_written_alike():
    assert str(tracing.parse(THEIRS)) == THEIRS
    assert str(tracing.parse(THEIRS[:-1] + "0")) == THEIRS[:-1] + "0"


def test_of_a_later_version_only_what_is_known_is_taken():
    later = "cc" + THEIRS[2:-2] + "03-what-the-future-brings"

    assert str(tracing.parse(later)) == THEIRS


@pytest.mark.parametrize(
    "text",
    [
        "",
        THEIRS.upper(),
        THEIRS + "-x",
        THEIRS[:-1],
        " " + THEIRS,
        "ff" + THEIRS[2:],
        THEIRS.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        THEIRS.replace("b7ad6b7169203331", "0" * 16),
        "00-" + "é" * 32 + THEIRS[35:],
    ],
)
def test_what_is_no_traceparent_is_none(text):
    assert tracing.parse(text) is None


def test_work_goes_on_in_the_trace_of_its_row_and_no_longer_than_that():
    with tracing.within(None):
        with tracing.joined(THEIRS), tracing.span("work") as span:
            assert tracing.current_traceparent() == THEIRS
            assert span.context is None  # nobody makes spans here
        assert tracing.current() is None


def test_more_exact_news_of_the_same_trace_is_kept():
    claim = THEIRS.replace("b7ad6b7169203331", "1111111111111111")

    with tracing.within(tracing.parse(claim)), tracing.joined(THEIRS):
        assert tracing.current_traceparent() == claim


def test_receivers_hear_only_of_traces_that_are_kept():
    assert tracing.headers_of(tracing.parse(THEIRS)) == {"traceparent": THEIRS}
    assert tracing.headers_of(tracing.build_context()) == {}
    assert tracing.headers_of(None) == {}


def record(**fields):
    fields = {"msg": "it %s", "args": ("ends",), "name": "jobs", **fields}
    return logging.makeLogRecord({"levelno": logging.WARNING, **fields})


def test_a_line_says_its_service_its_context_and_its_trace():
    log_context.bind(request_id="r1", job_id="not this")
    with tracing.within(tracing.parse(THEIRS)):
        told = JsonFormatter(service="web").format(record(job_id="j1"))
    log_context.bind()

    assert '"service": "web"' in told
    assert '"request_id": "r1", "job_id": "j1"' in told
    assert '"trace_id": "0af7651916cd43dd8448eb211c80319c"' in told


def test_people_are_shown_a_line_without_secrets_and_in_colour_only_where_it_shows():
    formatter = ConsoleFormatter(service="web", color=False)
    said = record(url="https://a.example/?secret", levelname="INFO")
    with tracing.within(None):  # whatever ran here before
        line = formatter.format(said)
    coloured = ConsoleFormatter(service="web", color=True).format(record())

    assert line[12:] == " INFO    it ends url=https://a.example/?… [web jobs]"
    assert "\x1b[33m" in coloured


def test_logs_are_for_people_only_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert choose_format("auto") == "console"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert [choose_format(each) for each in ("auto", "console")] == ["json", "console"]
    with pytest.raises(ValueError, match="json or console"):
        choose_format("xml")


def test_without_a_collector_nothing_of_the_library_is_loaded():
    script = (
        "import sys, transcribe_platform.celery as c; c.app.loader.import_default_modules();"
        "from jobs.telemetry import tracing\n"
        "with tracing.span('x'): pass\n"
        "import transcribe_platform.wsgi\n"
        # redis-py loads what it finds of the API, and of metrics.
        "sys.exit(any(name.startswith('opentelemetry.' + part) for part in"
        " ('exporter', 'sdk.trace') for name in sys.modules))"
    )

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
