"""Live streams: messages, order and close codes, with the canned words' truth."""

import asyncio
import contextlib
import json
import warnings

import pytest
import websockets
from deepgram import AsyncDeepgramClient, DeepgramClientEnvironment
from deepgram.core.events import EventType

from tests.support.deepgram_streams import (
    CLOSE,
    RAW,
    DeepgramStream,
    converse,
    dial,
    read,
    truth,
)
from workers.emulator.engines.live import cells

SPEECH = cells.speech(12, seed=1)


def test_every_word_of_the_audio_comes_once_in_a_final_result(emulator):
    talk = converse(emulator.url, SPEECH, f"{RAW}&model=nova-3&interim_results=true")

    assert talk.words() == truth(cells.find_words(SPEECH, 16_000))
    assert len(talk.words()) > 15
    assert talk.code == 1000
    ends = [round(f["start"] + f["duration"], 6) for f in talk.finals]
    assert [f["start"] for f in talk.finals] == [0.0, *ends[:-1]]
    assert ends[-1] == 12
    assert any(f["speech_final"] for f in talk.finals[:-1])
    metadata = talk.messages[-1]
    (model,) = metadata["models"]
    assert (metadata["type"], metadata["duration"]) == ("Metadata", 12)
    assert metadata["model_info"][model]["name"] == "emulator-canned"
    (entry,) = emulator.log()
    assert (entry["status"], entry["outcome"], entry["close_code"]) == (101, "ok", 1000)
    assert (entry["duration"], entry["bytes"]) == (12, len(SPEECH))


def test_a_result_looks_as_deepgrams(emulator):
    talk = converse(
        emulator.url, SPEECH, f"{RAW}&interim_results=true&punctuate=true&model=nova-3"
    )

    results = talk.of("Results")
    first = results[0]
    assert list(first) == [
        *("type", "channel_index", "duration", "start", "is_final", "speech_final"),
        *("channel", "metadata", "from_finalize"),
    ]
    assert (first["channel_index"], first["start"], first["duration"]) == ([0, 1], 0, 1)
    assert (first["is_final"], first["speech_final"]) == (False, False)
    (alternative,) = first["channel"]["alternatives"]
    words = alternative["words"]
    assert alternative["transcript"] == " ".join(w["punctuated_word"] for w in words)
    assert all(w["end"] <= 1 and 0.85 <= w["confidence"] <= 1 for w in words)
    assert first["metadata"].keys() == {"request_id", "model_info", "model_uuid"}


@pytest.mark.parametrize("cut", [4 * 32_000, 4 * 32_000 + 320 * 7, 150_001])
def test_a_stream_that_goes_on_elsewhere_has_the_words_of_one(emulator, cut):
    whole = truth(cells.find_words(SPEECH, 16_000))

    before = converse(emulator.url, SPEECH[:cut])
    after = converse(emulator.url, SPEECH[cut:])

    joined = before.words() + after.words(ahead=cut / 32_000)
    split = [word for word in whole if word[1] < cut / 32 < word[2]]
    assert joined == [word for word in whole if word not in split]


def test_nothing_is_said_of_audio_that_has_not_come(emulator):
    with dial(emulator.url, f"{RAW}&interim_results=true") as socket:
        socket.send(SPEECH[:48_000])
        socket.send('{"type":"Finalize"}')
        talk = DeepgramStream()
        while not talk.messages or not talk.messages[-1]["from_finalize"]:
            read(socket, talk, until="Results")
        final = talk.messages[-1]
        assert (final["start"], final["duration"], final["is_final"]) == (0, 1.5, True)
        socket.send('{"type":"Finalize"}')  # nothing is left: no answer
        socket.send(SPEECH[48_000:])
        socket.send(b"")
        read(socket, talk)

    assert talk.code == 1000
    assert talk.words() == truth(cells.find_words(SPEECH, 16_000))
    assert [f["from_finalize"] for f in talk.finals].count(True) == 1


def test_voices_that_begin_and_end_are_told_when_asked_for(emulator):
    sound = cells.speech(3, seed=5)[: 2 * 32_000]
    silence = bytes(2 * 32_000)
    query = f"{RAW}&interim_results=true&vad_events=true&utterance_end_ms=1000"

    talk = converse(emulator.url, silence + sound + silence + sound, query)

    assert [e["timestamp"] for e in talk.of("SpeechStarted")] == [2.0, 6.0]
    assert talk.of("SpeechStarted")[0]["channel"] == [0]
    last = cells.find_words(silence + sound, 16_000)[-1].end
    ends = [e["last_word_end"] for e in talk.of("UtteranceEnd")]
    assert last in ends
    assert all(e["channel"] == [0, 1] for e in talk.of("UtteranceEnd"))
    assert not converse(emulator.url, silence, query).of("SpeechStarted")


def test_the_sync_sdk_works_unchanged(emulator):
    kinds, texts = [], []

    with emulator.client().listen.v1.connect(
        model="nova-3", encoding="linear16", sample_rate="16000", smart_format="true"
    ) as stream:
        stream.on(EventType.MESSAGE, lambda message: kinds.append(message.type))
        stream.on(
            EventType.MESSAGE,
            lambda m: texts.extend(
                w.word
                for w in (
                    m.channel.alternatives[0].words if m.type == "Results" else ()
                )
            ),
        )
        stream.send_keep_alive()
        stream.send_media(SPEECH)
        stream.send_close_stream()
        stream.start_listening()

    assert texts == [word.text for word in cells.find_words(SPEECH, 16_000)]
    assert kinds[-1] == "Metadata"


def test_the_async_sdk_works_unchanged(emulator):
    async def listen() -> list[object]:
        environment = DeepgramClientEnvironment(
            base=emulator.url,
            production=emulator.url.replace("http", "ws"),
            agent=emulator.url,
            agent_rest=emulator.url,
        )
        client = AsyncDeepgramClient(api_key="k", environment=environment)
        async with client.listen.v1.connect(
            model="nova-3", encoding="linear16", sample_rate="16000"
        ) as stream:
            await stream.send_media(SPEECH)
            await stream.send_finalize()
            await stream.send_close_stream()
            return [message async for message in stream]

    with warnings.catch_warnings():
        # The SDK's own: it still uses what websockets has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        messages = asyncio.run(listen())

    assert [m.type for m in messages][-1] == "Metadata"
    heard = [w.word for m in messages[:-1] for w in m.channel.alternatives[0].words]
    assert heard == [word.text for word in cells.find_words(SPEECH, 16_000)]
    assert messages[-2].from_finalize is True


def test_a_stream_that_never_has_audio_ends_with_1011(emulator):
    emulator.configure(config={"stream_idle_seconds": 0.3})
    talk = DeepgramStream()

    def keep_alive() -> None:
        for _ in range(50):
            socket.send('{"type":"KeepAlive"}')
            with contextlib.suppress(TimeoutError):
                talk.messages.append(json.loads(socket.recv(timeout=0.1)))

    with dial(emulator.url) as socket:
        with pytest.raises(websockets.ConnectionClosed):
            keep_alive()  # words alone do not hold it open
        read(socket, talk)

    assert talk.code == 1011
    assert "net0001" in talk.reason
    assert [m["type"] for m in talk.messages] == ["Metadata"]
    assert (talk.messages[0]["duration"], talk.messages[0]["channels"]) == (0, 0)
    assert "models" not in talk.messages[0]


def test_text_that_is_no_message_is_answered_and_the_stream_goes_on(emulator):
    with dial(emulator.url) as socket:
        for text in ("{", '{"type":"Sing"}', "[]", '{"type":"Finalize","channel":"x"}'):
            socket.send(text)
        socket.send(CLOSE)
        talk = read(socket, DeepgramStream())

    assert [m["message"] for m in talk.of("Error")][:2] == ["{", '{"type":"Sing"}']
    assert {m["variant"] for m in talk.of("Error")} == {"SchemaError"}
    assert len(talk.of("Error")) == 4
    assert talk.code == 1000


def test_what_is_no_audio_is_closed_with_1008(emulator):
    talk = converse(
        emulator.url, b"This is a letter, not a sound. " * 50, "model=nova-3"
    )

    assert talk.code == 1008
    assert talk.reason.startswith("DATA-0000")
    assert emulator.log()[0]["outcome"] == "error"


def test_keepalives_hold_a_stream_open_that_had_audio(emulator):
    emulator.configure(config={"stream_idle_seconds": 0.4})

    with dial(emulator.url) as socket:
        socket.send(SPEECH[:3200])
        for _ in range(3):
            with pytest.raises(TimeoutError):
                socket.recv(timeout=0.2)
            socket.send('{"type":"KeepAlive"}')
        talk = read(socket, DeepgramStream())

    assert talk.code == 1011
    assert [m["type"] for m in talk.messages] == ["Results", "Metadata"]
    assert talk.messages[-1]["duration"] == 0.1


def test_keyterms_are_replaced_in_the_middle_where_the_model_can(emulator):
    def configure(model: str, keyterms: object) -> dict[str, object]:
        with dial(emulator.url, f"{RAW}&model={model}") as socket:
            socket.send(json.dumps({"type": "Configure", "keyterms": keyterms}))
            return json.loads(socket.recv())

    assert configure("nova-3", ["Bach", "Händel"])["keyterms"] == ["Bach", "Händel"]
    assert configure("nova-3", None)["type"] == "ConfigureSuccess"
    assert configure("nova-2", ["x"])["code"] == "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
    assert (
        configure("nova-3", ["x y"] * 251)["code"] == "CONFIGURE_KEYTERM_LIMIT_EXCEEDED"
    )
    assert configure("nova-3", "x")["variant"] == "SchemaError"


def test_a_client_that_vanishes_leaves_nothing_behind(emulator, eventually):
    with dial(emulator.url) as socket:
        socket.send(SPEECH[:64_000])
        socket.socket.shutdown(2)

    eventually(lambda: emulator.log()[0]["outcome"] != "open")
    (entry,) = emulator.log()
    assert (entry["outcome"], entry["close_code"]) == ("aborted", 1006)
    assert entry["duration"] == 2
    assert emulator.stats()["streams"]["in_flight"] == 0
    assert emulator.http.get("/__emu__/streams").json()["streams"] == []
