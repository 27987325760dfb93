"""Flux, `/v2/listen`, by the official SDK: turns, Configure, reconnects."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.listen.v2.types import (
    ListenV2Configure,
    ListenV2ConfigureThresholds,
    ListenV2ForceEndTurn,
)
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from jobs.models import Attempt, Job
from tests.support.deepgram_sockets import environment, frames, hear_all
from tests.support.live_streams import RATE, find_truth, make_speech, rounded
from tests.support.waiting import eventually
from transcripts.models import Transcript
from transcripts.storage import read_document

pytestmark = [
    pytest.mark.xdist_group("live"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

RAW: Any = {"model": "flux-general-en", "encoding": "linear16", "sample_rate": RATE}
SILENCE = bytes(RATE * 2)


def raw_socket(me: Any, **query: Any) -> Any:
    asked = "&".join(f"{name}={value}" for name, value in {**RAW, **query}.items())
    return connect(
        f"ws://127.0.0.1:{me.door.port}/v2/listen?{asked}",
        additional_headers={"Authorization": f"Token {me.text}"},
        proxy=None,
    )


def calls(me: Any) -> list[dict[str, Any]]:
    return [call for call in me.emulator.log() if call["path"] == "/v2/listen"]


def turns(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in told if each["type"] == "TurnInfo"]


def check_sequence(told: list[dict[str, Any]]) -> None:
    """Check the numbers, and that events follow each other as Deepgram documents."""
    assert [each["sequence_id"] for each in told] == list(range(len(told)))
    is_open, index = False, 0
    for each in turns(told):
        assert each["turn_index"] == index
        assert (each["event"] == "StartOfTurn") <= (not is_open)
        if each["event"] in {"EagerEndOfTurn", "TurnResumed", "EndOfTurn"}:
            assert is_open
        assert ("trigger" in each) == (each["event"] == "EndOfTurn")
        is_open = (is_open or each["event"] == "StartOfTurn") and (
            each["event"] != "EndOfTurn"
        )
        index += each["event"] == "EndOfTurn"


def test_the_async_client_hears_turns(me):
    audio = make_speech(3) + SILENCE + make_speech(2, seed=3) + SILENCE
    client = AsyncDeepgramClient(api_key=me.text, environment=environment(me.door))

    async def stream() -> list[Any]:
        asked = {"eager_eot_threshold": 0.5, "tag": ["mine"], "keyterm": ["Bach"]}
        async with client.listen.v2.connect(**RAW, **asked) as socket:
            for frame in frames(audio):
                await socket.send_media(frame)
            await socket.send_close_stream()
            return [message async for message in socket]

    told = asyncio.run(stream())

    job = Job.objects.get()
    assert told[0].type == "Connected"
    assert {each.request_id for each in told} == {str(job.pk)}
    check_sequence([each.model_dump(exclude_none=True) for each in told])
    ended = [each for each in told if getattr(each, "event", "") == "EndOfTurn"]
    words = [(word.word, word.start, word.end) for turn in ended for word in turn.words]
    assert len(words) == len(find_truth(audio))
    assert [each[1:] for each in rounded(words)] == [
        each[1:] for each in find_truth(audio)
    ]
    events = {each.event for each in told if each.type == "TurnInfo"}
    assert {"StartOfTurn", "Update", "EagerEndOfTurn", "EndOfTurn"} <= events
    assert (job.status, job.mode) == ("completed", "live")
    stored = read_document(Transcript.objects.get())["results"]["channels"][0]
    assert len(stored["alternatives"][0]["words"]) == len(words)
    (call,) = calls(me)
    query = parse_qs(call["query"])
    assert query["model"] == ["flux-general-en"]
    assert query["eager_eot_threshold"] == ["0.5"]
    assert query["keyterm"] == ["Bach"]
    assert "mine" in query["tag"]
    assert {"smart_format", "interim_results"}.isdisjoint(query)
    assert Attempt.objects.get().cost_estimate > 0
    assert me.is_free()


def test_the_sync_client_ends_a_turn_and_changes_thresholds(me):
    client = DeepgramClient(api_key=me.text, environment=environment(me.door))

    with client.listen.v2.connect(**RAW) as socket:
        told = [socket.recv()]
        change = ListenV2Configure(
            thresholds=ListenV2ConfigureThresholds(eot_threshold=0.8), keyterms=["Bach"]
        )
        socket.send_configure(change)
        told.append(socket.recv())
        for frame in frames(make_speech(1)):
            socket.send_media(frame)
        socket.send_force_end_turn(ListenV2ForceEndTurn())
        while getattr(told[-1], "event", "") != "EndOfTurn":
            told.append(socket.recv())
        socket.send_close_stream()
        list(socket)

    assert told[1].type == "ConfigureSuccess"
    assert told[1].thresholds.eot_threshold == 0.8
    assert told[1].keyterms == ["Bach"]
    assert told[-1].trigger == "manual"
    assert told[-1].transcript


def test_turns_go_on_across_a_reconnect(me):
    async def stream() -> list[dict[str, Any]]:
        async with raw_socket(me) as socket:
            change = {"type": "Configure", "thresholds": {"eot_timeout_ms": 700}}
            await socket.send(json.dumps(change))
            for frame in frames(make_speech(2) + SILENCE + make_speech(3, seed=2)):
                await socket.send(frame)
            told: list[dict[str, Any]] = []
            while not (told and told[-1].get("turn_index") == 1 and told[-1]["words"]):
                told.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
            me.emulator.cut_streams()
            for frame in frames(make_speech(1, seed=4) + SILENCE):
                await socket.send(frame)
            await asyncio.to_thread(eventually, lambda: len(calls(me)) == 2)
            await socket.send(json.dumps({"type": "CloseStream"}))
            return told + (await hear_all(socket))[0]

    told = asyncio.run(stream())

    check_sequence(told)
    answers = [each["type"] for each in told if each["type"].startswith("Configure")]
    assert answers == ["ConfigureSuccess"]
    warnings = {each["code"] for each in told if each["type"] == "Warning"}
    assert warnings == {"UPSTREAM_RECONNECTING", "UPSTREAM_RECONNECTED"}
    second = parse_qs(calls(me)[1]["query"])
    assert second["eot_timeout_ms"] == ["700"]
    ended = [each for each in turns(told) if each["event"] == "EndOfTurn"]
    times = [word["start"] for turn in ended for word in turn["words"]]
    assert times == sorted(set(times))
    assert Job.objects.get().status == "completed"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"model": "nova-3"}, "model"),
        ({"model": ""}, "model"),
        ({"eot_threshold": "2"}, "eot_threshold"),
        ({"eot_timeout_ms": "1"}, "eot_timeout_ms"),
        ({"language_hint": "de"}, "language_hint"),
    ],
)
def test_a_wrong_option_is_refused_before_the_socket_opens(me, query, name):
    with pytest.raises(InvalidStatus) as raised:
        asyncio.run(raw_socket(me, **query).__aenter__())

    response = raised.value.response
    assert response.status_code == 400
    body = json.loads(response.body)
    assert body["err_code"] == "INVALID_QUERY_PARAMETER"
    assert body["err_msg"].startswith(f"{name}: ")
    assert not Job.objects.exists()


def test_options_of_other_models_are_ignored_with_a_warning(me):
    async def stream() -> Any:
        async with raw_socket(me, smart_format="true", endpointing=10) as socket:
            await socket.send(json.dumps({"type": "CloseStream"}))
            return await hear_all(socket)

    told, code, _ = asyncio.run(stream())

    assert ([each["type"] for each in told], code) == (["Connected"], 1000)
    codes = [each["code"] for each in Job.objects.get().warnings]
    assert codes.count("option_ignored") == 2


@pytest.mark.parametrize("text", ["nonsense", '{"type":"Finalize"}', "[]"])
def test_an_unknown_message_ends_the_stream(me, text):
    async def stream() -> Any:
        async with raw_socket(me) as socket:
            await socket.send(text)
            return await hear_all(socket)

    told, code, _ = asyncio.run(stream())

    assert [each["type"] for each in told] == ["Connected", "Error"]
    assert code == 1008


def test_a_change_of_privacy_fails(me):
    async def stream() -> Any:
        async with raw_socket(me) as socket:
            await socket.send(json.dumps({"type": "Configure", "mip_opt_out": False}))
            await socket.send(json.dumps({"type": "CloseStream"}))
            return (await hear_all(socket))[0]

    told = asyncio.run(stream())

    assert [each["type"] for each in told] == ["Connected", "ConfigureFailure"]
    assert told[1]["code"] == "INVALID_CONFIGURATION"
