"""Deepgram's words for what a session tells."""

import json

import pytest

from workers.api.listen.deepgram_wire_format import DeepgramWireFormat
from workers.api.live.close_reasons import close_reason
from workers.api.live.wire_format import ClientCommand, MessageKind, ServerMessage


@pytest.fixture
def dialect() -> DeepgramWireFormat:
    made = DeepgramWireFormat(created="2026-11-25T00:00:00Z")
    assert (
        made.encode(ServerMessage(kind=MessageKind.READY, fields={"job_id": "job-1"}))
        is None
    )
    return made


def tell(dialect, kind, fields=None, upstream=None):
    text = dialect.encode(
        ServerMessage(kind=kind, fields=fields or {}, upstream=upstream)
    )
    return None if text is None else json.loads(text)


def test_the_upstreams_messages_come_under_the_jobs_id(dialect):
    message = {
        "type": "Results",
        "channel_index": [1, 2],
        "metadata": {
            "request_id": "dg",
            "model_uuid": "m",
            "model_info": {"name": "n"},
        },
    }
    started = {"type": "SpeechStarted", "channel": [0], "timestamp": 1.5}

    told = tell(dialect, MessageKind.TRANSCRIPT, upstream=message)

    assert told == {
        **message,
        "metadata": {**message["metadata"], "request_id": "job-1"},
    }
    assert tell(dialect, MessageKind.SPEECH_STARTED, upstream=started) == started
    assert tell(dialect, MessageKind.CLOSED, {"audio_seconds": 2.5}) == {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "job-1",
        "sha256": "incomplete",
        "created": "2026-11-25T00:00:00Z",
        "duration": 2.5,
        "channels": 2,
        "models": ["m"],
        "model_info": {"m": {"name": "n"}},
    }


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        (MessageKind.WARNING, {"code": "audio_dropped", "detail": "Lost."}, None),
        (MessageKind.ERROR, {"code": "stream_idle", "detail": "Nothing came."}, None),
        (MessageKind.ERROR, {"code": "audio_unreadable", "detail": "No audio."}, None),
        (
            *(MessageKind.ERROR, {"code": "stream_too_long", "detail": "Too long."}),
            {"type": "Error", "variant": "stream_too_long", "description": "Too long."},
        ),
    ],
)
def test_what_deepgram_has_no_word_for_is_not_told(dialect, kind, fields, told):
    assert tell(dialect, kind, fields) == told


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"type":"KeepAlive"}', ClientCommand.KEEPALIVE),
        ('{"type":"Finalize","channel":0}', ClientCommand.FINALIZE),
        ('{"type": "CloseStream"}', ClientCommand.CLOSE),
    ],
)
def test_what_a_client_says_is_understood(dialect, text, command):
    assert dialect.parse(text) == command
    assert dialect.empty == ClientCommand.CLOSE


def test_a_deep_text_is_answered_without_being_parsed(dialect):
    answer = json.loads(dialect.encode(dialect.parse("[" * 60_000)))

    assert answer["variant"] == "SchemaError"
    assert "nested" in answer["description"]
    assert len(answer["message"]) == 4096


@pytest.mark.parametrize("text", ["", "[]", '"x"', '{"type":["KeepAlive"]}', "{}"])
def test_what_is_no_message_is_answered(dialect, text):
    answer = dialect.parse(text)

    told = json.loads(dialect.encode(answer))
    assert (told["type"], told["variant"], told["message"]) == (
        *("Error", "SchemaError"),
        text,
    )


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        (close_reason("client_closed"), 1000, ""),
        (close_reason("shutdown"), 1001, "The server is going away."),
        (close_reason("idle", seconds=10), 1011, "net0001"),
        (close_reason("no_audio_while_others_wait", seconds=60), 1011, "net0001"),
        (close_reason("small_messages"), 1008, "Send 20 to 250 ms of audio in each."),
        (close_reason("text_too_large", limit=5), 1009, "5 characters."),
        (close_reason("flood"), 1008, "too many text messages."),
        (close_reason("key_ended"), 1008, "has expired or lost its scope."),
        (close_reason("slow_reader"), 1008, "reads messages too slowly."),
        (close_reason("frame_too_large", limit=5), 1009, "5 bytes."),
        (close_reason("server_error"), 1011, "on the server."),
        (close_reason("results_incomplete"), 1011, "last words are provisional."),
        (close_reason("unavailable", error_code="x"), 1013, "at the moment."),
        (
            *(
                close_reason(
                    "upstream_rejected", error_code="audio_unreadable", detail=""
                ),
                1008,
            ),
            "unsupported by Deepgram.",
        ),
        (close_reason("upstream_rejected", error_code="x", detail="No."), 1008, "No."),
        (
            close_reason("upstream_failed", error_code="x", detail="Away."),
            1011,
            "Away.",
        ),
    ],
)
def test_a_session_is_closed_by_deepgrams_codes(dialect, end, code, reason):
    closed, said = dialect.closing(end)

    assert closed == code
    assert said.endswith(reason)
    assert len(said.encode()) <= 123
