"""Our backend against the emulator, on a real socket: each trap of the SDK."""

import io
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobs.errors import UpstreamError
from jobs.models import Region
from tests.support.factories import make_unique_wav
from transcripts.backends import StoredAudio, TranscriptionRequest
from workers.deepgram import client
from workers.deepgram.backend import DeepgramBackend
from workers.ratelimit.breaker import CircuitBreaker


def stored(audio: bytes) -> StoredAudio:
    return StoredAudio(
        open=lambda: io.BytesIO(audio),
        size_bytes=len(audio),
        content_type="audio/wav",
    )


@pytest.fixture
def call(emulator, settings) -> Callable[..., Any]:
    settings.DEEPGRAM_API_KEY = "test-key"

    def transcribe(
        *tags: str,
        audio: str | StoredAudio | None = None,
        deadline: float = 10,
        **options,
    ) -> Any:
        source = audio or stored(make_unique_wav(2.0))
        request = TranscriptionRequest(
            region=Region(name="local", base_url=emulator.url),
            source=source,
            options={"model": "nova-3", "tag": list(tags), **options},
            tags=("job:42", "claim:1"),
            deadline_seconds=deadline,
        )
        return DeepgramBackend().transcribe(request)

    return transcribe


def test_an_upload_arrives_whole_with_its_length_and_type(call, emulator):
    audio = make_unique_wav(3.0)

    result = call(
        audio=stored(audio), smart_format=True, keyterm=["Deep gram", "Zürich"]
    )

    (logged,) = emulator.log()
    headers = {name.lower(): value for name, value in logged["headers"].items()}
    assert headers["content-type"] == "audio/wav"
    assert "transfer-encoding" not in headers
    assert logged["bytes"] == len(audio)
    assert result.document["metadata"]["duration"] == pytest.approx(3.0, abs=0.01)
    assert result.request_id == logged["request_id"]
    assert set(logged["tags"]) == {"job:42", "claim:1"}
    assert "smart_format=true" in logged["query"]
    assert "keyterm=Deep+gram" in logged["query"]


def test_a_url_is_fetched_by_the_upstream(call, site):
    result = call(audio=f"{site.url}/a.wav")

    assert result.document["metadata"]["duration"] == pytest.approx(2.0, abs=0.01)


def test_the_raw_bytes_are_kept_and_the_sdk_parses_nothing(call):
    result = call()

    assert result.raw.startswith(b'{"metadata"')
    assert client.pop_response() is None


@pytest.mark.parametrize(
    ("tag", "failure", "status"),
    [
        ("emu:401", "account", 401),
        ("emu:402", "account", 402),
        ("emu:403", "account", 403),
        ("emu:408", "unavailable", 408),
        ("emu:429", "rate_limited", 429),
        ("emu:500", "unavailable", 500),
        ("emu:503", "unavailable", 503),
        ("emu:504", "too_long", 504),
        ("emu:html", "unavailable", 502),
        ("emu:badjson", "unavailable", 200),
        ("emu:close", "unavailable", None),
        ("emu:rst", "unavailable", None),
        ("emu:drop", "unavailable", None),
    ],
)
def test_each_failure_is_one_call_and_one_of_our_errors(
    call, emulator, tag, failure, status
):
    with pytest.raises(UpstreamError) as failed:
        call(tag)

    assert (failed.value.failure, failed.value.status) == (failure, status)
    assert len(emulator.log()) == 1  # the SDK did not try again by itself


def test_retry_after_is_told(call):
    with pytest.raises(UpstreamError) as failed:
        call("emu:429ra7")

    assert failed.value.retry_after == 7


def test_what_is_not_audio_is_the_customers_to_mend(call):
    with pytest.raises(UpstreamError) as failed:
        call(audio=stored(b"this is not audio" * 100))

    assert (failed.value.failure, failed.value.code) == (
        "bad_media",
        "audio_unreadable",
    )


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("expired.wav", "audio_url_expired"),
        ("missing.wav", "audio_url_refused"),
        ("page.html", "audio_url_unreachable"),
    ],
)
def test_a_url_that_gives_no_audio_has_a_stable_code(call, site, path, code):
    with pytest.raises(UpstreamError) as failed:
        call(audio=f"{site.url}/{path}")

    assert failed.value.code == code


@pytest.mark.parametrize("tag", ["emu:drip", "emu:delay5"])
def test_a_server_that_drips_or_dawdles_is_let_go_at_the_deadline(call, tag):
    began = time.monotonic()

    with pytest.raises(UpstreamError) as failed:
        call(tag, deadline=0.5)

    assert failed.value.code == "upstream_timeout"
    assert time.monotonic() - began < 2


def test_nobody_listening_is_told_apart_from_a_call_that_broke_off(call, emulator):
    emulator.url = "http://127.0.0.1:9"

    with pytest.raises(UpstreamError) as failed:
        call()

    emulator.url = str(emulator.http.base_url).rstrip("/")
    assert failed.value.failure == "unreachable"


class Breaks(io.BytesIO):
    """A file whose storage goes away after the first piece."""

    def read(self, size=-1, /):
        if self.tell():
            raise OSError("gone")
        return super().read(size)


def away() -> io.BytesIO:
    raise OSError("away")


@pytest.mark.parametrize("opened", [away, lambda: Breaks(make_unique_wav(60.0))])
def test_storage_that_is_away_is_not_the_upstreams_fault(call, opened, monkeypatch):
    told = []
    monkeypatch.setattr(
        CircuitBreaker, "record", lambda *_, **words: told.append(words)
    )
    audio = StoredAudio(
        open=opened, size_bytes=len(make_unique_wav(60.0)), content_type="audio/wav"
    )

    with pytest.raises(UpstreamError) as failed:
        call(audio=audio)

    assert (failed.value.code, failed.value.failure) == (
        "storage_unavailable",
        "storage",
    )
    assert told == []


def test_one_client_a_process(call, emulator):
    call()

    first = client.get_client(base_url=emulator.url, api_key="test-key")

    call()
    again = client.get_client(base_url=emulator.url, api_key="test-key")
    assert again is first


def test_a_large_upload_leaves_the_memory_flat(call):
    size = 200 * 1024**2

    class Silence(io.RawIOBase):
        left = size

        def read(self, count: int = -1) -> bytes:
            count = min(count, self.left)
            self.left -= count
            return bytes(count)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = StoredAudio(open=Silence, size_bytes=size, content_type="audio/wav")
    with pytest.raises(UpstreamError) as failed:
        call(audio=source)

    assert failed.value.code == "audio_unreadable"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024
