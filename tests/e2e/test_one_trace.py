"""One trace through every process of a real run: its spans, its log lines, its rows."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.database import own_databases
from tests.support.emulator_process import EmulatorProcess
from tests.support.platform_run import Run
from tests.support.span_collector import Collector, collecting
from tests.support.webhook_receiver import Receiver
from workers.demo import corpus
from workers.embedded.binaries import scratch_folder
from workers.embedded.processes import wait_until

SPEECH = (corpus.FOLDER / "train.mp3").read_bytes()
TRACES = ASYNC, SYNC, LIVE = [digit * 32 for digit in "abc"]
REFUSED = "d" * 32
REDIS_NUMBER = 61  # the fuzz round has 60
# How many spans each of them has in the end.
WHOLE = {ASYNC: 10, SYNC: 5, LIVE: 5}
CALLER = "b7ad6b7169203331"
RUN = ("transcribe", [("upstream call", []), ("store", [])])
ATTRIBUTES = {
    *("error.type", "http.request.method", "http.route", "request_id"),
    *("http.response.status_code", "transcription.attempt", "transcription.claim"),
    *("transcription.delivery_id", "transcription.event", "transcription.job_id"),
    *("transcription.mode", "transcription.model", "transcription.region"),
    "transcription.request_id",
}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("one_trace"),  # one run for all of them
]


def traceparent(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{CALLER}-01"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where the run sends its spans."""
    with collecting() as listener:
        yield listener


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    started = EmulatorProcess.start(tmp_path_factory.mktemp("emulator"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def run(
    hooks: Receiver, collector: Collector, upstream: EmulatorProcess
) -> Iterator[Run]:
    """A platform on the servers of the tests, with an upstream that needs no speech."""
    folder = scratch_folder("transcribe-trace-")
    with own_databases(redis_number=REDIS_NUMBER) as urls:
        started = Run(
            folder / "data",
            **urls,
            MEDIA_ROOT=str(folder / "media"),
            DEEPGRAM_API_KEY="any",
            DEEPGRAM_BASE_URL=upstream.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
            LOG_FORMAT="json",
            EGRESS_ALLOW=f"{hooks.host}:{hooks.port}",
            BACKOFF_BASE_SECONDS="0.1",
        )
        yield started
        started.process.terminate()
        started.process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def done(
    run: Run, hooks: Receiver, collector: Collector, upstream: EmulatorProcess
) -> dict[str, Any]:
    """A job that needs two calls, a synchronous one and a live one, all to their end."""
    ready = run.ready()
    key = {"authorization": f"Bearer {ready['api_key']}"}
    file = {"file": ("train.mp3", SPEECH)}
    with httpx.Client(base_url=ready["web"], timeout=60, trust_env=False) as http:
        form = {"options": '{"tag": ["emu:503x1"]}', "callback_url": hooks.url + "?s=1"}
        made = http.post(
            "/v1/jobs?", data=form, files=file, headers=key | traceparent(ASYNC)
        )
        short = http.post(
            "/v1/transcribe",
            data={"mode": "sync"},
            files=file,
            headers=key | traceparent(SYNC),
        )
        live = listen(ready)
        hooks.wait_for(1)
        assert wait_until(lambda: is_told(collector), seconds=20)
        problem = http.get("/v1/no", headers=traceparent(REFUSED)).json()
        ledger = http.get(f"/v1/jobs/{made.json()['id']}/attempts", headers=key).json()
    return {
        "jobs": {
            ASYNC: made.json()["id"],
            SYNC: short.headers["location"][-36:],
            LIVE: live,
        },
        "problem": problem,
        "ledger": ledger["data"],
        "tags": [each["tags"] for each in upstream.log() if "tags" in each],
        "text": short.json()["transcript"]["text"],
    }


def listen(ready: dict[str, Any]) -> str:
    """Say half a second of nothing to the live door; return its job."""
    url = ready["web"].replace("http", "ws", 1)
    headers = {"authorization": f"Bearer {ready['api_key']}"} | traceparent(LIVE)
    with connect(
        f"{url}/v1/live?encoding=linear16&sample_rate=16000",
        additional_headers=headers,
        proxy=None,
    ) as socket:
        job: str = json.loads(socket.recv())["job_id"]
        socket.send(bytes(16_000))
        socket.send('{"type": "close"}')
        for _ in socket:
            pass
    return job


def is_told(collector: Collector) -> bool:
    """Wait for whole traces: each process sends in its own time."""
    return all(len(collector.spans(trace)) >= WHOLE[trace] for trace in TRACES)


def test_spans_are_one_tree_a_request_whatever_processes_it_took(done, collector):
    assert collector.trees(ASYNC) == [
        ("POST /v1/jobs", [("claim", [RUN]), ("claim", [RUN]), ("webhook", [])]),
    ]
    assert collector.trees(SYNC) == [("POST /v1/transcribe", [("claim", []), RUN])]
    calls = [("upstream connect", []), ("upstream call", []), ("store", [])]
    assert collector.trees(LIVE) == [("GET /v1/live", [("live session", calls)])]


def test_each_span_says_which_process_made_it_and_what_failed(done, collector):
    spans = collector.spans(ASYNC)
    by_name = {span.name: span for span in spans}

    services = {name: span.service for name, span in by_name.items()}
    first_call = next(span for span in spans if span.name == "upstream call")

    assert services == {
        "POST /v1/jobs": "transcription-web",
        "claim": "transcription-dispatcher",
        "transcribe": "transcription-worker",
        "upstream call": "transcription-worker",
        "store": "transcription-worker",
        "webhook": "transcription-webhooks",
    }
    assert by_name["POST /v1/jobs"].parent_id == CALLER
    assert first_call.is_error
    assert first_call.attributes["error.type"] == "upstream_unavailable"


def test_spans_name_things_and_quote_nothing(done, collector):
    spans = [span for trace in TRACES for span in collector.spans(trace)]
    values = [str(value) for span in spans for value in span.attributes.values()]
    names = {name for span in spans for name in span.attributes}

    assert names == ATTRIBUTES
    assert not [value for value in values if "?" in value or "://" in value]
    assert not [value for value in values if len(value) > 64]


def test_the_trace_goes_on_to_the_customer_the_upstream_and_the_ledger(
    done, collector, hooks
):
    (webhook,) = [it for it in collector.spans(ASYNC) if it.name == "webhook"]
    (received,) = hooks.received

    assert received.headers["traceparent"] == f"00-{ASYNC}-{webhook.span_id}-01"
    assert [call["trace_id"] for call in done["ledger"]] == [ASYNC, ASYNC]
    assert done["problem"]["trace_id"] == REFUSED
    for trace, job in done["jobs"].items():
        tagged = [tags for tags in done["tags"] if f"job:{job}" in tags]
        assert tagged
        assert all(f"trace:{trace}" in tags for tags in tagged)


def test_logs_of_all_processes_tell_the_story_of_a_trace(done, run):
    lines = [
        (path.stem, json.loads(line))
        for path in (run.folder / "log").glob("*.log")
        for line in path.read_text().splitlines()
        if line.startswith("{")
    ]
    told = sorted(
        (line["at"], name, line["message"])
        for name, line in lines
        if line.get("trace_id") == ASYNC and line.get("job_id") == done["jobs"][ASYNC]
    )
    services = {line["service"] for _, line in lines}

    assert [(name, message) for _, name, message in told] == [
        ("web", "job queued"),
        ("dispatcher", "job processing"),
        ("worker", "job queued"),
        ("dispatcher", "job processing"),
        ("worker", "job completed"),
        ("webhooks", "webhook attempt"),
    ]
    assert services >= {
        f"transcription-{name}"
        for name in ("web", "worker", "webhooks", "dispatcher", "beat")
    }
    of_job = [line for _, line in lines if line.get("trace_id") in TRACES]
    assert all(line["tenant_id"] for line in of_job if "job_id" in line)
    assert done["text"] not in json.dumps([line for _, line in lines])
