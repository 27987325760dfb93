"""Deepgram's own SDK, unchanged, at our live door; only its base URL is another."""

import asyncio
import json
import threading
from typing import Any
from urllib.parse import parse_qs

import pytest
from deepgram import (
    AsyncDeepgramClient,
    DeepgramClient,
)
from deepgram.core.api_error import ApiError
from deepgram.listen.v1.types import ListenV1Configure
from django.db import connection
from django.utils import timezone
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from jobs.accounts import access_tokens
from jobs.models import Attempt, Job
from tests.support.deepgram_sockets import environment, frames, hear_all
from tests.support.live_streams import (
    RATE,
    find_truth,
    make_speech,
    rounded,
)
from tests.support.waiting import eventually
from transcripts.models import Transcript
from transcripts.storage import read_document

pytestmark = [
    pytest.mark.xdist_group("live"),
    # The SDK's async client stands on the deprecated half of its library.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

RAW: Any = {"model": "nova-3", "encoding": "linear16", "sample_rate": RATE}


def words_of(told: list[Any]) -> list[tuple[str, float, float]]:
    return [
        (word.word, word.start, word.end)
        for each in told
        if each.type == "Results" and each.is_final
        for word in each.channel.alternatives[0].words
    ]


def raw_socket(me: Any, *, subprotocols: Any = None, **query: Any) -> Any:
    asked = "&".join(f"{name}={value}" for name, value in {**RAW, **query}.items())
    headers = {} if subprotocols else {"Authorization": f"Token {me.text}"}
    return connect(
        f"ws://127.0.0.1:{me.door.port}/v1/listen?{asked}",
        additional_headers=headers,
        subprotocols=subprotocols,
        proxy=None,
    )


def test_the_async_client_streams_as_it_does_to_deepgram(me):
    audio = make_speech(4) + bytes(RATE * 4)
    client = AsyncDeepgramClient(api_key=me.text, environment=environment(me.door))

    async def stream() -> list[Any]:
        asked = {"interim_results": "true", "vad_events": "true", "tag": "mine"}
        asked |= {"utterance_end_ms": "1000"}
        async with client.listen.v1.connect(**RAW, **asked) as socket:
            for frame in frames(audio):
                await socket.send_media(frame)
            await socket.send_keep_alive()
            await socket.send_finalize()
            await socket.send_close_stream()
            return [message async for message in socket]

    told = asyncio.run(stream())

    job = Job.objects.get()
    request_id = str(job.pk)
    kinds = {"Results", "SpeechStarted", "UtteranceEnd", "Metadata"}
    assert {each.type for each in told} == kinds
    assert rounded(words_of(told)) == find_truth(audio)
    assert any(each.type == "Results" and not each.is_final for each in told)
    results = [each for each in told if each.type == "Results"]
    assert {each.metadata.request_id for each in results} == {request_id}
    assert [each.request_id for each in told if each.type == "Metadata"] == [request_id]
    assert (told[-1].type, told[-1].duration) == ("Metadata", 6.0)
    assert (job.status, job.mode, job.duration_seconds) == ("completed", "live", 6.0)
    assert job.options["tag"] == ["mine"]
    stored = read_document(Transcript.objects.get())["results"]["channels"][0]
    said = [
        (word["word"], word["start"], word["end"])
        for word in stored["alternatives"][0]["words"]
    ]
    assert rounded(said) == find_truth(audio)
    assert me.is_free()


def test_the_sync_client_streams_as_it_does_to_deepgram(me):
    audio = make_speech(3, seed=2)
    client = DeepgramClient(api_key=me.text, environment=environment(me.door))
    told: list[Any] = []

    with client.listen.v1.connect(**RAW) as socket:
        hearing = threading.Thread(target=lambda: told.extend(socket))
        hearing.start()
        for frame in frames(audio + bytes(RATE * 4)):
            socket.send_media(frame)
        socket.send_close_stream()
        hearing.join(20)

    assert rounded(words_of(told)) == find_truth(audio)
    assert all(each.is_final for each in told if each.type == "Results")
    assert told[-1].type == "Metadata"
    assert Job.objects.get().status == "completed"


def test_a_handshake_is_refused_as_deepgram_refuses_it(me):
    client = DeepgramClient(api_key="no-key", environment=environment(me.door))
    ours = DeepgramClient(api_key=me.text, environment=environment(me.door))
    bad = {**RAW, "sample_rate": "99999999"}

    with pytest.raises(InvalidStatus) as refused:
        client.listen.v1.connect(**RAW).__enter__()
    with pytest.raises(InvalidStatus) as wrong:
        ours.listen.v1.connect(**bad).__enter__()

    answer = refused.value.response
    assert (answer.status_code, answer.headers["dg-error"]) == (401, "INVALID_AUTH")
    assert json.loads(answer.body or b"")["err_code"] == "INVALID_AUTH"
    answer = wrong.value.response
    assert (answer.status_code, answer.headers["dg-error"]) == (
        *(400, "INVALID_QUERY_PARAMETER"),
    )
    assert Job.objects.count() == 0
    assert me.is_free()


def test_the_async_client_sees_a_refusals_status(me):
    me.tenant.is_paused = True
    me.tenant.save()
    client = AsyncDeepgramClient(api_key=me.text, environment=environment(me.door))

    async def stream() -> None:
        async with client.listen.v1.connect(**RAW):
            pass

    with pytest.raises(ApiError) as refused:
        asyncio.run(stream())

    assert refused.value.status_code == 429
    assert Job.objects.count() == 0


def test_a_page_brings_its_key_among_the_subprotocols(me):
    async def stream() -> tuple[str | None, Any]:
        async with raw_socket(me, subprotocols=["token", me.text]) as socket:
            await socket.send(b"")  # which ends a stream there
            return socket.subprotocol, await hear_all(socket)

    subprotocol, (told, code, reason) = asyncio.run(stream())

    assert subprotocol == "token"
    assert [each["type"] for each in told] == ["Metadata"]
    assert (code, reason) == (1000, "")
    assert Job.objects.get().status == "completed"


def test_a_foreign_page_is_refused_though_it_has_a_key(me):
    async def stream() -> Any:
        evil = {"Origin": "https://evil.example"}
        with pytest.raises(InvalidStatus) as refused:
            await me.connect(path="/v1/listen", headers=evil, **RAW)
        return refused.value.response

    answer = asyncio.run(stream())

    assert answer.status_code == 403
    assert json.loads(answer.body or b"")["err_code"] == answer.headers["dg-error"]
    assert Job.objects.count() == 0


def test_what_is_no_message_is_answered_and_the_stream_goes_on(me):
    async def stream() -> Any:
        async with raw_socket(me) as socket:
            await socket.send("nonsense")
            await socket.send('{"type":"Whatever"}')
            await socket.send('{"type":"Configure","features":{"redact":true}}')
            for frame in frames(make_speech(1)):
                await socket.send(frame)
            await socket.send('{"type":"CloseStream"}')
            return await hear_all(socket)

    told, code, _ = asyncio.run(stream())

    answers = [each for each in told if each["type"] not in {"Results", "Metadata"}]
    assert [(each["type"], each.get("variant")) for each in answers] == [
        ("Error", "SchemaError"),
        ("Error", "SchemaError"),
        ("ConfigureFailure", None),
    ]
    assert answers[0]["message"] == "nonsense"
    assert any(each["type"] == "Results" for each in told)
    assert (told[-1]["type"], code) == ("Metadata", 1000)


def test_a_silent_client_is_closed_as_deepgram_does(me):
    async def stream() -> Any:
        async with raw_socket(me) as socket:
            return await hear_all(socket)

    told, code, reason = asyncio.run(stream())

    assert [each["type"] for each in told] == ["Metadata"]
    assert code == 1011
    assert reason.endswith("net0001")
    assert me.settles()


def test_audio_that_cannot_be_decoded_is_closed_as_deepgram_does(me):
    async def stream() -> Any:
        headers = {"Authorization": f"Token {me.text}"}
        url = f"ws://127.0.0.1:{me.door.port}/v1/listen?model=nova-3"
        async with connect(url, additional_headers=headers, proxy=None) as socket:
            await socket.send(b"this is no audio" * 400)
            return await hear_all(socket)

    told, code, reason = asyncio.run(stream())

    assert [each["type"] for each in told] == ["Metadata"]
    assert (code, reason[:9]) == (1008, "DATA-0000")
    job = Job.objects.get()
    assert (job.status, job.error_code) == ("failed", "audio_unreadable")
    assert Attempt.objects.get().outcome == "error"


def test_the_upstreams_troubles_are_not_its_callers(me):
    audio = make_speech(6, seed=3)

    async def stream() -> Any:
        async with raw_socket(me) as socket:
            for number, frame in enumerate(frames(audio)):
                await socket.send(frame)
                await asyncio.sleep(0.02)
                if number in {20, 40}:
                    await asyncio.to_thread(me.emulator.cut_streams)
            await socket.send('{"type":"CloseStream"}')
            return await hear_all(socket)

    told, code, _ = asyncio.run(stream())

    said = [
        (word["word"], word["start"], word["end"])
        for each in told
        if each["type"] == "Results" and each["is_final"]
        for word in each["channel"]["alternatives"][0]["words"]
    ]
    assert code == 1000
    assert rounded(said) == find_truth(audio)
    job = Job.objects.get()
    assert {
        each["metadata"]["request_id"] for each in told if each["type"] == "Results"
    } == {str(job.pk)}
    assert Attempt.objects.filter(job=job).count() >= 2


def test_a_cancel_ends_the_stream(me):
    async def keep_alive(socket: Any) -> None:
        while True:
            await socket.send('{"type":"KeepAlive"}')
            await asyncio.sleep(0.3)

    async def stream() -> Any:
        async with raw_socket(me) as socket:
            keeping = asyncio.create_task(keep_alive(socket))
            await asyncio.to_thread(cancel)
            heard = await hear_all(socket)
            keeping.cancel()
            return heard

    def cancel() -> None:
        answer = me.post(f"/v1/jobs/{Job.objects.get().pk}/cancel")
        connection.close()
        assert answer.status_code == 200

    _, code, reason = asyncio.run(stream())

    assert (code, reason) == (1000, "The job was canceled.")
    assert Job.objects.get().status == "canceled"
    assert me.is_free()


def issue_token(me: Any, seconds: int) -> str:
    return access_tokens.issue_token(me.key, seconds=seconds, now=timezone.now())[0]


def has_expired(token: str) -> bool:
    try:
        access_tokens.read_key_id(token, now=timezone.now())
    except access_tokens.InvalidToken as error:
        return error.is_expired
    return False


def test_a_socket_opened_with_a_token_outlives_the_token(me):
    token, audio = issue_token(me, 2), make_speech(2)

    async def stream() -> tuple[Any, list[dict[str, Any]]]:
        async with raw_socket(me, subprotocols=["bearer", token]) as socket:
            while not has_expired(token):
                await socket.send(json.dumps({"type": "KeepAlive"}))
                await asyncio.sleep(0.2)
            for frame in frames(audio):
                await socket.send(frame)
            await socket.send(json.dumps({"type": "CloseStream"}))
            return socket.subprotocol, (await hear_all(socket))[0]

    subprotocol, told = asyncio.run(stream())

    assert subprotocol == "bearer"
    assert any(each["type"] == "Results" for each in told)
    assert Job.objects.get().status == "completed"
    with pytest.raises(InvalidStatus) as raised:
        asyncio.run(raw_socket(me, subprotocols=["bearer", token]).__aenter__())
    assert raised.value.response.status_code == 401
    assert json.loads(raised.value.response.body)["err_code"] == "INVALID_AUTH"


def test_the_sdk_streams_with_a_token(me):
    token = issue_token(me, 60)
    client = DeepgramClient(access_token=token, environment=environment(me.door))

    with client.listen.v1.connect(**RAW) as socket:
        socket.send_close_stream()
        told = list(socket)

    assert told[-1].type == "Metadata"


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/speak", 501), ("/v1/agent/converse", 501)]
)
def test_a_socket_that_is_not_served_says_so(me, path, status):
    with pytest.raises(InvalidStatus) as raised:
        asyncio.run(me.connect(path=path).__aenter__())

    response = raised.value.response
    assert response.status_code == status
    assert json.loads(response.body)["err_code"] == "NOT_IMPLEMENTED"


def test_an_unknown_option_is_ignored_with_a_warning(me):
    async def stream() -> Any:
        async with raw_socket(me, temperature=0, paragraphs="True") as socket:
            await socket.send(json.dumps({"type": "CloseStream"}))
            await hear_all(socket)

    asyncio.run(stream())

    job = Job.objects.get()
    details = [
        each["detail"] for each in job.warnings if each["code"] == "option_ignored"
    ]
    assert details == [
        "The option 'temperature' is unknown and was ignored.",
        "The option 'paragraphs' is not for streams and was ignored.",
    ]


ANSWERS = {"ConfigureSuccess", "ConfigureFailure"}


def configure(**fields: Any) -> str:
    return json.dumps({"type": "Configure", **fields})


async def hear_answer(socket: Any) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            told = json.loads(await socket.recv())
            if told["type"] in ANSWERS:
                return dict(told)


def test_a_stream_changes_its_options_and_keeps_them_after_a_reconnect(me):
    async def stream() -> list[dict[str, Any]]:
        async with raw_socket(me, keyterm="old") as socket:
            await socket.send(make_speech(1))
            await socket.send(configure(keyterms=["Bach", "Händel"]))
            answers = [await hear_answer(socket)]
            await socket.send(configure(features={"numerals": True}))
            answers.append(await hear_answer(socket))
            me.emulator.cut_streams()
            await socket.send(make_speech(1, seed=2))
            await asyncio.to_thread(
                eventually, lambda: len(me.emulator.listen_calls()) == 2
            )
            await socket.send(configure(keyterms=[]))
            answers.append(await hear_answer(socket))
            await socket.send(json.dumps({"type": "CloseStream"}))
            await hear_all(socket)
        return answers

    answers = asyncio.run(stream())

    job_id = str(Job.objects.get().pk)
    assert [each["type"] for each in answers] == ["ConfigureSuccess"] * 3
    assert {each["request_id"] for each in answers} == {job_id}
    assert [each.get("keyterms") for each in answers] == [["Bach", "Händel"], None, []]
    first, second = (parse_qs(it["query"]) for it in me.emulator.listen_calls())
    assert first["keyterm"] == ["old"]
    assert (second["keyterm"], second["numerals"]) == (["Bach", "Händel"], ["true"])


@pytest.mark.parametrize(
    ("model", "fields", "code"),
    [
        ("nova-2", {"keyterms": ["a"]}, "CONFIGURE_KEYTERMS_NOT_SUPPORTED"),
        ("nova-3", {"keyterms": ["a b"] * 90 * 3}, "CONFIGURE_INVALID"),
        ("nova-3", {"keyterms": "a"}, "CONFIGURE_INVALID"),
        ("nova-3", {"features": {"mip_opt_out": False}}, "CONFIGURE_INVALID"),
        ("nova-3", {"features": {"redact": False}}, "CONFIGURE_INVALID"),
        ("nova-3", {"features": {"numerals": "yes"}}, "CONFIGURE_INVALID"),
        ("nova-3", {"model": "nova-2"}, "CONFIGURE_INVALID"),
    ],
)
def test_a_rejected_change_gets_one_failure(me, model, fields, code):
    async def stream() -> list[dict[str, Any]]:
        async with raw_socket(me, model=model) as socket:
            await socket.send(configure(**fields))
            await socket.send(json.dumps({"type": "CloseStream"}))
            return (await hear_all(socket))[0]

    answers = [each for each in asyncio.run(stream()) if each["type"] in ANSWERS]

    assert [(each["type"], each["code"]) for each in answers] == [
        ("ConfigureFailure", code)
    ]


def test_each_change_gets_one_answer_also_at_the_end(me):
    async def stream() -> list[dict[str, Any]]:
        async with raw_socket(me) as socket:
            for number in range(5):
                await socket.send(configure(keyterms=[f"term {number}"]))
            await socket.send(json.dumps({"type": "CloseStream"}))
            return (await hear_all(socket))[0]

    told = asyncio.run(stream())

    answers = [each for each in told if each["type"] in ANSWERS]
    assert len(answers) == 5
    assert {each.get("code") for each in answers} <= {
        None,
        "CONFIGURE_ALREADY_PENDING",
        "CONFIGURE_INTERNAL_ERROR",
    }


def test_the_sdk_changes_key_terms(me):
    client = DeepgramClient(api_key=me.text, environment=environment(me.door))

    with client.listen.v1.connect(**RAW) as socket:
        socket.send_configure(ListenV1Configure(keyterms=["Bach"]))
        answer = socket.recv()
        socket.send_close_stream()
        list(socket)

    assert (answer.type, answer.keyterms) == ("ConfigureSuccess", ["Bach"])
