"""Handshakes of live streams that are refused, and streams that break off."""

import contextlib
import json

import httpx
import pytest
import websockets
from websockets.sync.client import connect

from tests.support.deepgram_streams import (
    RAW,
    DeepgramStream,
    converse,
    dial,
    read,
    truth,
)
from workers.emulator.engines.live import cells

SPEECH = cells.speech(6, seed=2)


def refusal(emulator, query: str = RAW, **caller: str) -> tuple[int, str]:
    """Return status and code of a handshake that must fail."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        dial(emulator.url, query, **caller).close()
    response = caught.value.response
    body = json.loads(response.body)
    assert response.headers["dg-error"] == body["err_msg"]
    assert response.headers["dg-request-id"] == body["request_id"]
    return response.status_code, body["err_code"]


@pytest.mark.parametrize(
    ("query", "key", "expected"),
    [
        (RAW, "bad-key", (401, "INVALID_AUTH")),
        (RAW, "no-credit", (402, "ASR_PAYMENT_REQUIRED")),
        (RAW, "no-model", (403, "INSUFFICIENT_PERMISSIONS")),
        (f"{RAW}&tag=emu:404", "k", (404, "PROJECT_NOT_FOUND")),
        (f"{RAW}&model=nova-9", "k", (400, "Bad Request")),
        (f"{RAW}&interim_results=yes", "k", (400, "INVALID_QUERY_PARAMETER")),
        (f"{RAW}&utterance_end_ms=1000", "k", (400, "Bad Request")),
        (f"{RAW}&utterance_end_ms=9&interim_results=true", "k", (400, "Bad Request")),
        ("encoding=linear16", "k", (400, "Bad Request")),
        (f"{RAW}&callback=http://a.example", "k", (400, "Bad Request")),
    ],
)
def test_a_handshake_is_refused_with_a_reason(emulator, query, key, expected):
    assert refusal(emulator, query, key=key) == expected
    assert emulator.stats()["streams"]["in_flight"] == 0
    assert emulator.log()[0]["status"] == expected[0]


def test_streams_have_a_limit_of_their_own(emulator):
    emulator.configure(config={"stream_concurrency": 1, "concurrency": 0})

    with dial(emulator.url) as socket:
        refused = refusal(emulator)
        socket.send(SPEECH)
        socket.send(b"")
        assert read(socket, DeepgramStream()).code == 1000

    assert refused == (429, "TOO_MANY_REQUESTS")
    assert converse(emulator.url, SPEECH).code == 1000


def test_the_key_of_a_browser_comes_as_a_subprotocol(emulator):
    address = f"{emulator.url.replace('http', 'ws')}/v1/listen?{RAW}"

    with connect(address, subprotocols=["token", "browser-key"], proxy=None) as socket:
        assert socket.subprotocol == "token"

    assert emulator.log()[0]["key"] == "browser-key"


def test_without_an_upgrade_there_is_no_stream(emulator):
    answer = emulator.http.get("/v1/listen", headers={"authorization": "Token k"})

    assert answer.status_code == 400
    assert isinstance(answer, httpx.Response)


@pytest.mark.parametrize(
    ("tag", "code"), [("emu:cut2", 1006), ("emu:bye2", 1011), ("emu:bye1m", 1011)]
)
def test_a_stream_breaks_off_in_the_middle(emulator, tag, code):
    with dial(emulator.url, f"{RAW}&tag={tag}") as socket:
        try:
            for at in range(0, len(SPEECH), 3200):
                socket.send(SPEECH[at : at + 3200])
        except websockets.ConnectionClosed:
            pass
        talk = read(socket, DeepgramStream())

    whole = truth(cells.find_words(SPEECH, 16_000))
    assert talk.code == code
    assert not talk.of("Metadata")
    assert talk.words() == whole[: len(talk.words())]
    (entry,) = emulator.log()
    assert (entry["outcome"], entry["close_code"]) == ("fault", code)
    assert 2 <= entry["duration"] < 6


def test_every_open_stream_is_cut_at_once(emulator):
    control = "/__emu__/streams"
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(dial(emulator.url, f"{RAW}&tag=n:{n % 2}"))
            for n in range(4)
        ]

        shown = emulator.http.get(control).json()["streams"]
        cut = emulator.http.delete(control, params={"tag": "n:1"}).json()["cut"]
        emulator.http.delete(control, params={"how": "1011"})

        codes = [read(socket, DeepgramStream()).code for socket in sockets]
    assert len(shown) == 4
    assert [each["tags"] for each in cut] == [["n:1"], ["n:1"]]
    assert codes == [1011, 1006, 1011, 1006]
    assert {entry["outcome"] for entry in emulator.log()} == {"fault"}
    assert emulator.http.delete("/__emu__/streams?how=gently").status_code == 400


def test_a_stalled_stream_takes_audio_and_says_nothing(emulator, eventually):
    emulator.configure(config={"stream_idle_seconds": 0.1})

    with dial(emulator.url, f"{RAW}&tag=emu:stall0") as socket:
        socket.send(SPEECH)
        eventually(lambda: emulator.log()[0]["bytes"] == len(SPEECH))
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)

    assert emulator.log()[0]["fault"] == "stall0"


def test_odd_messages_and_late_ones_can_be_asked_for(emulator):
    with dial(
        emulator.url, f"{RAW}&tag=emu:weird&tag=emu:slow0.2&tag=emu:empty"
    ) as socket:
        socket.send(SPEECH)
        socket.send(b"")
        talk = read(socket, DeepgramStream())

    assert talk.messages[0]["type"] == "Unheard"
    assert talk.finals
    assert talk.words() == []
    with (
        dial(emulator.url, f"{RAW}&tag=emu:badjson") as socket,
        pytest.raises(json.JSONDecodeError),
    ):
        json.loads(socket.recv())
