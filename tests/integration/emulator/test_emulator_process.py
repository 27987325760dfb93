"""The process itself: its settings, its end, and the offline recognizer behind it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import jiwer
import pytest
from deepgram.core.api_error import ApiError

from tests.support import ROOT
from tests.support import deepgram_streams as live_calls
from tests.support import encoded_audio as sounds

SPEECH = ROOT / "workers" / "demo" / "speech"

# One xdist worker for all of it: the model is loaded once.
pytestmark = pytest.mark.xdist_group("emulator-process")


@pytest.fixture(scope="module")
def listener(launch):
    """An emulator that really listens; its model takes a second to load."""
    return launch("--engine", "pocketsphinx", "--processes", "1")


def test_clear_speech_is_recognized_and_nothing_is_made_up(listener):
    truth = json.loads((SPEECH / "truth.json").read_text())["call.flac"]["texts"]

    answer = listener.client().listen.v1.media.transcribe_file(
        request=(SPEECH / "call.flac").read_bytes(),
        model="nova-3",
        smart_format=True,
        multichannel=True,
        diarize=True,
        summarize="v2",
    )

    heard = [channel.alternatives[0] for channel in answer.results.channels]
    (model,) = answer.metadata.models
    assert answer.metadata.model_info[model]["name"] == "emulator-pocketsphinx"
    assert len(heard) == answer.metadata.channels == 2
    assert word_errors(truth, [channel.transcript for channel in heard]) < 0.2
    words = [word for channel in heard for word in channel.words]
    assert all(word.speaker is None and 0 <= word.confidence <= 1 for word in words)
    assert not any("(" in word.word or "<" in word.word for word in words)
    assert heard[0].transcript[0].isupper()
    assert heard[0].transcript.endswith(".")
    assert answer.results.summary is None
    assert {w["parameter"] for w in answer.metadata.warnings} == {
        "diarize",
        "summarize",
    }


def test_silence_is_a_success_without_words(listener, wav):
    answer = listener.client().listen.v1.media.transcribe_file(request=wav(1))

    (alternative,) = answer.results.channels[0].alternatives
    assert (alternative.transcript, alternative.words) == ("", [])
    assert alternative.confidence == 0.0


def test_clear_speech_is_recognized_while_it_is_spoken(listener):
    samples, rate, _ = sounds.decode((SPEECH / "call.flac").read_bytes(), "mono")
    spoken = samples[: int(4.6 * rate) * 2]
    query = (
        f"encoding=linear16&sample_rate={rate}&smart_format=true&model=nova-3"
        "&interim_results=true&vad_events=true"
    )

    with live_calls.dial(listener.url, query) as socket:
        socket.send(spoken[: 3 * rate * 2])
        begun = live_calls.read(
            socket, live_calls.DeepgramStream(), until="SpeechStarted"
        )
        interim = json.loads(socket.recv(timeout=30))
        socket.send(spoken[3 * rate * 2 :])
        socket.send(live_calls.CLOSE)
        talk = live_calls.read(socket, live_calls.DeepgramStream())

    assert begun.messages[-1]["timestamp"] < 1
    assert interim["is_final"] is False
    assert interim["start"] + interim["duration"] <= 3
    text = " ".join(f["channel"]["alternatives"][0]["transcript"] for f in talk.finals)
    said = "I have been waiting for more than two weeks and nobody has called me back."
    assert word_errors([said], [text]) < 0.2
    assert text.strip().endswith(".")
    assert talk.code == 1000
    (info,) = talk.messages[-1]["model_info"].values()
    assert info["name"] == "emulator-pocketsphinx"


def test_speech_that_ends_with_a_frame_of_the_recognizer_is_not_lost(listener):
    samples, rate, _ = sounds.decode((SPEECH / "call.flac").read_bytes(), "mono")
    seconds = 2.7  # in the middle of a word, and whole frames of 30 ms

    with live_calls.dial(
        listener.url, f"encoding=linear16&sample_rate={rate}&model=nova-3"
    ) as socket:
        socket.send(samples[: int(seconds * rate) * 2])
        socket.send(live_calls.CLOSE)
        talk = live_calls.read(socket, live_calls.DeepgramStream())

    text = " ".join(f["channel"]["alternatives"][0]["transcript"] for f in talk.finals)
    assert "waiting" in text
    assert talk.code == 1000


def test_a_live_recognizer_that_dies_ends_its_stream_with_1011(listener, eventually):
    with live_calls.dial(listener.url) as socket:
        socket.send(bytes(32_000))
        eventually(lambda: listener.http.get("/__emu__/streams").json()["streams"])
        for child in children_of(listener.popen.pid):
            if "spawn_main" in child.read_text():
                os.kill(int(child.parent.name), signal.SIGKILL)
        talk = live_calls.read(socket, live_calls.DeepgramStream())

    assert talk.code == 1011
    assert "NET-0000" in talk.reason


def test_a_recognizer_that_dies_is_replaced(listener, wav):
    for child in children_of(listener.popen.pid):
        if "spawn_main" in child.read_text():
            os.kill(int(child.parent.name), signal.SIGKILL)

    answer = listener.client().listen.v1.media.transcribe_file(request=wav(1))

    assert answer.metadata.duration == 1


def test_recognizers_do_not_outlive_a_killed_emulator(listener, eventually):
    children = children_of(listener.popen.pid)
    assert len(children) >= 1

    listener.popen.kill()

    eventually(lambda: not any(child.exists() for child in children))


def test_sigterm_ends_it_at_once_with_calls_under_way(launch, eventually):
    server = launch("--latency-base", "60")
    host = httpx.URL(server.url)
    with (
        live_calls.dial(server.url) as stream,
        socket.create_connection((host.host, host.port)) as plug,
    ):
        plug.sendall(
            b"POST /v1/listen?encoding=mulaw&sample_rate=8000 HTTP/1.1\r\nhost: x\r\n"
            b"authorization: Token k\r\ncontent-length: 4\r\n\r\n1234"
        )
        eventually(lambda: server.stats()["in_flight"] == 1)
        begun = time.monotonic()

        server.popen.send_signal(signal.SIGTERM)

        assert live_calls.read(stream, live_calls.DeepgramStream()).code == 1011
        assert server.popen.wait(5) == 0
        assert time.monotonic() - begun < 2


def test_only_the_listed_keys_and_public_places_are_accepted(launch, wav):
    server = launch("--keys", "one,two", "--strict-urls", "--max-body-bytes", "9000")
    media = server.client("one").listen.v1.media

    def refusal(key: str = "one", **arguments: object) -> tuple[int, str]:
        door = server.client(key).listen.v1.media
        call = door.transcribe_url if "url" in arguments else door.transcribe_file
        with pytest.raises(ApiError) as caught:
            call(**arguments)
        return caught.value.status_code, caught.value.body["err_msg"]

    assert media.transcribe_file(request=wav(0.5)).metadata.duration == 0.5
    assert refusal("three", request=wav(0.5)) == (401, "Invalid credentials.")
    assert refusal(request=wav(1)) == (413, "Payload too large.")
    assert refusal(url=f"{server.url}/a.wav") == (
        400,
        "URL for media download must be publicly routable.",
    )
    assert refusal(request=wav(0.5), callback="http://a.example:81/") == (
        400,
        "Invalid callback url.",
    )


def test_a_senseless_setting_is_refused():
    answer = subprocess.run(
        [sys.executable, "-m", "workers.emulator", "--concurrency", "-1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 2
    assert "concurrency cannot be negative" in answer.stderr


def word_errors(truth: list[str], heard: list[str]) -> float:
    def plain(text: str) -> str:
        kept = (c for c in text.lower() if c.isalpha() or c in " '")
        return "".join(kept)

    return jiwer.wer([plain(text) for text in truth], [plain(text) for text in heard])


def children_of(pid: int) -> list[Path]:
    """Return the command lines of all children, as files of the kernel."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline") for child in tasks]
