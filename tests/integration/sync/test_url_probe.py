import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from tests.support.factories import make_wav
from workers.api.transcribe import url_probe
from workers.demo import corpus

TENANT = uuid4()


class Site:
    """A web server on loopback that knows ranges, or does not."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.knows_ranges = True
        self.total: str | None = None  # as Content-Range states it
        self.asked: list[str | None] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{name}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("range")
        self.asked.append(wanted)
        content = self.files.get(handler.path[1:])
        if content is None:
            handler.send_error(404)
            return
        first, last = 0, len(content) - 1
        if wanted and self.knows_ranges:
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            first = int(start) if start else max(0, len(content) - int(end))
            last = min(last, int(end)) if start else last
            handler.send_response(206)
            total = self.total or len(content)
            handler.send_header("content-range", f"bytes {first}-{last}/{total}")
        else:
            handler.send_response(200)
        part = content[first : last + 1]
        handler.send_header("content-length", str(len(part)))
        handler.end_headers()
        with suppress(ConnectionError):  # the probe has seen enough
            handler.wfile.write(part)


@pytest.fixture
def site(settings) -> Iterator[Site]:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()
    url_probe._transport.cache_clear()


SPEECH = {each.path.name: each for each in corpus.recordings()}


@pytest.mark.parametrize("name", sorted(SPEECH))
@pytest.mark.parametrize("head", [256 * 1024, 16 * 1024])
def test_a_look_at_both_ends_tells_the_length(site, monkeypatch, name, head):
    monkeypatch.setattr(url_probe, "HEAD_BYTES", head)
    content = SPEECH[name].path.read_bytes()
    site.files[name] = content
    path = SPEECH[name].path
    truth = url_probe.probe.probe_audio(path, tenant=TENANT).duration_seconds

    found = url_probe.find_duration(site.url(name), tenant_id=TENANT)

    assert found == pytest.approx(truth, rel=0.1)
    assert len(site.asked) == (2 if len(content) > head else 1)


def test_a_server_without_ranges_still_shows_its_head(site, monkeypatch):
    monkeypatch.setattr(url_probe, "HEAD_BYTES", 4096)
    site.knows_ranges = False
    site.files["a.wav"] = make_wav(5)

    assert url_probe.find_duration(
        site.url("a.wav"), tenant_id=TENANT
    ) == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\0" * 1000])
def test_what_is_no_audio_has_no_length(site, content):
    site.files["a"] = content

    assert url_probe.find_duration(site.url("a"), tenant_id=TENANT) is None
    assert url_probe.find_duration(site.url("missing"), tenant_id=TENANT) is None


@pytest.mark.parametrize("total", ["9" * 5000, "9" * 19, "\u0665", "-1", "*"])
def test_a_total_that_no_file_has_raises_nothing(site, total):
    site.files["a.wav"], site.total = make_wav(5), total

    found = url_probe.find_duration(site.url("a.wav"), tenant_id=TENANT)

    assert found is None or found == pytest.approx(5, abs=0.1)
    assert len(site.asked) == 1


def test_the_guard_stands_before_it(site, settings):
    settings.EGRESS_ALLOW = []
    url_probe._transport.cache_clear()
    site.files["a.wav"] = make_wav(5)

    assert url_probe.find_duration(site.url("a.wav"), tenant_id=TENANT) is None
    assert site.asked == []


def test_a_probed_url_chooses_the_route(site, door, settings):
    settings.SYNC_BELOW_SECONDS, settings.ASYNC_ABOVE_SECONDS = 1, 3
    site.files["a.wav"] = make_wav(5)

    answer = door.transcribe(audio_url=site.url("a.wav"), probe_url=True)

    assert answer.status_code == 202, answer.content
    route = answer.json()["route"]
    assert (route["mode"], route["source"]) == ("async", "url_probe")
    assert route["duration_seconds"] == pytest.approx(5, abs=0.1)
