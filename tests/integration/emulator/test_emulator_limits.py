"""Both of Deepgram's limits, and what the statistics say about them."""

import concurrent.futures
import contextlib

import pytest
from deepgram.core.api_error import ApiError

from tests.support.emulator_process import SIDE_KEY


def test_the_call_over_the_concurrency_limit_is_refused_verbatim(
    emulator, media, wav, eventually
):
    emulator.configure(config={"concurrency": 2})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(media.transcribe_file, request=wav(1), tag=["emu:delay1.5"])
            for _ in range(2)
        ]
        eventually(lambda: emulator.stats()["in_flight"] == 2)

        with pytest.raises(ApiError) as caught:
            media.transcribe_file(request=wav(1))
        elsewhere = emulator.client(SIDE_KEY).listen.v1.media
        elsewhere.transcribe_file(request=wav(1))

    assert all(call.result().metadata for call in running)
    assert caught.value.status_code == 429
    assert caught.value.body["err_code"] == "TOO_MANY_REQUESTS"
    assert caught.value.body["err_msg"] == "Too many requests. Please try again later"
    assert "retry-after" not in caught.value.headers
    stats = emulator.stats()
    assert stats["in_flight"] == 0
    assert stats["projects"]["default"]["max_in_flight"] == 2
    assert stats["too_many_requests"] == stats["refused"] == 1
    assert stats["by_status"] == {"200": 3, "429": 1}


def test_a_place_is_free_again_before_the_answer_arrives(emulator, media, wav):
    emulator.configure(config={"concurrency": 1})
    audio = wav(1)

    for _ in range(50):
        media.transcribe_file(request=audio)

    assert emulator.stats()["by_status"] == {"200": 50}


def test_the_call_over_the_rate_is_refused_and_does_not_count(emulator, media, wav):
    emulator.configure(config={"rate_per_minute": 3, "retry_after": 1.5})
    audio = wav(1)
    headers = []

    for _ in range(5):
        with contextlib.suppress(ApiError):
            headers.append(media.with_raw_response.transcribe_file(request=audio))
    with pytest.raises(ApiError) as caught:
        media.transcribe_file(request=audio)

    stats = emulator.stats()
    assert len(headers) == stats["max_in_window"] == 3
    assert stats["refused"] == 3
    assert caught.value.headers["retry-after"] == "1.5"


def test_latency_is_drawn_from_its_range_and_repeats(emulator, media, wav):
    emulator.configure(config={"latency_min": 0.01, "latency_max": 0.5})
    audio = wav(1)

    for tag in ("job:1", "job:2", "job:1"):
        media.transcribe_file(request=audio, tag=[tag])

    first, other, again = (_seconds(entry) for entry in emulator.log())
    assert first == pytest.approx(again, abs=0.1)
    assert min(first, other) >= 0.01


def test_latency_grows_with_the_audio(emulator, media, wav):
    emulator.configure(
        config={"latency_base": 0.05, "latency_per_second_of_audio": 0.01}
    )

    media.transcribe_file(request=wav(20))

    (entry,) = emulator.log()
    assert _seconds(entry) >= 0.25


def _seconds(entry: dict[str, str]) -> float:
    """Return how long the call took; none of these runs over a full minute."""
    begun, ended = (float(entry[key][17:-1]) for key in ("started_at", "finished_at"))
    return (ended - begun) % 60
