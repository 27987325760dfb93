"""OpenAI's API with OpenAI's own package: an application changes base URL and key."""

import json
import math

import httpx
import openai
import pytest
from openai.types.audio import (
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
)

from jobs.concurrency import request_slots
from jobs.models import Attempt, Job
from jobs.scheduling.claims import Permit
from tests.support.captions import read_srt, read_vtt
from tests.support.factories import make_key, make_wav
from transcripts.models import Transcript

PATH = "/v1/audio/transcriptions"


@pytest.fixture
def client(customer):
    with openai.OpenAI(
        base_url=f"{customer.url}/v1", api_key=customer.api.text, max_retries=0
    ) as made:
        yield made


def transcribe(client, seconds=2.0, **fields):
    file = ("meeting.wav", make_wav(seconds), "audio/wav")
    fields = {"model": "whisper-1", **fields}
    return client.audio.transcriptions.create(file=file, **fields)


def check_types(value):
    """Validate against the package's own models, which do not check responses."""
    type(value).model_validate(value.model_dump(), strict=True)
    return value


def sent_options(emulator):
    (logged,) = [each for each in emulator.log() if each["path"] == "/v1/listen"]
    return logged["query"]


def test_json_is_the_default(client, emulator):
    answer = check_types(transcribe(client, model="gpt-4o-transcribe"))

    assert answer.text == Transcript.objects.get().text != ""
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 2.0)
    job, attempt = Job.objects.get(), Attempt.objects.get()
    assert (job.status, job.mode, attempt.outcome) == ("completed", "sync", "ok")
    assert job.options["model"] == "nova-3"
    assert job.options["detect_language"] is True
    assert job.filename == "meeting.wav"


def test_the_language_and_key_terms_reach_the_upstream(client, emulator):
    transcribe(
        client, model="gpt-transcribe", language="de", keywords=["Deepgram", "Celery"]
    )

    sent = str(sent_options(emulator))
    assert "'de'" in sent or "language=de" in sent
    assert Job.objects.get().options["keyterm"] == ["Deepgram", "Celery"]
    assert "detect_language" not in Job.objects.get().options


def test_several_languages_limit_the_detection(client):
    answer = check_types(
        transcribe(client, model="gpt-transcribe", languages=["en", "es"])
    )

    assert Job.objects.get().options["detect_language"] == ["en", "es"]
    assert [each.code for each in answer.languages] == ["en"]


def test_an_accounts_language_replaces_the_detection(client, customer):
    customer.api.tenant.default_options = {"language": "fr"}
    customer.api.tenant.save()

    transcribe(client)

    assert "detect_language" not in Job.objects.get().options


def test_verbose_json_has_segments(client):
    answer = check_types(transcribe(client, 6.0, response_format="verbose_json"))

    assert isinstance(answer, TranscriptionVerbose)
    assert (answer.duration, answer.language) == (6.0, "english")
    assert answer.words is None
    assert " ".join(each.text for each in answer.segments) == answer.text
    assert [each.id for each in answer.segments] == [*range(len(answer.segments))]
    assert all(-20 < each.avg_logprob <= 0 for each in answer.segments)


@pytest.mark.parametrize(
    ("granularities", "present"),
    [(["word"], {"words"}), (["word", "segment"], {"words", "segments"})],
)
def test_verbose_json_has_the_granularities_that_were_named(
    client, granularities, present
):
    answer = check_types(
        transcribe(
            client,
            response_format="verbose_json",
            timestamp_granularities=granularities,
        )
    )

    found = {name for name in ("words", "segments") if getattr(answer, name)}
    assert found == present
    assert " ".join(each.word for each in answer.words) == answer.text
    assert all(0 <= each.start <= each.end <= 2.0 for each in answer.words)


def test_text_and_captions(client):
    text = transcribe(client, response_format="text")
    srt = transcribe(client, response_format="srt")
    vtt = transcribe(client, response_format="vtt")

    assert text == Transcript.objects.first().text + "\n"
    words = Transcript.objects.first().text.split()
    for shown in (read_srt(srt), read_vtt(vtt)):
        assert " ".join(each.text for each in shown).split() == words


def test_speakers_are_letters(client):
    answer = check_types(
        transcribe(
            client,
            8.0,
            model="gpt-4o-transcribe-diarize",
            response_format="diarized_json",
            chunking_strategy="auto",
        )
    )

    assert isinstance(answer, TranscriptionDiarized)
    assert answer.task == "transcribe"
    assert Job.objects.get().options["diarize"] is True
    speakers = [each.speaker for each in answer.segments]
    assert speakers[0] == "A"
    assert {*speakers} <= {"A", "B", "C", "D"}
    assert len({each.id for each in answer.segments}) == len(answer.segments)


def test_log_probabilities_are_those_of_the_words(client):
    answer = check_types(
        transcribe(client, model="gpt-4o-transcribe", include=["logprobs"])
    )

    assert " ".join(each.token for each in answer.logprobs) == answer.text
    assert all(0 < math.exp(each.logprob) <= 1 for each in answer.logprobs)


def test_a_stream_has_deltas_and_an_end(client):
    events = [check_types(each) for each in transcribe(client, stream=True)]

    *deltas, done = events
    assert {type(each) for each in deltas} == {TranscriptionTextDeltaEvent}
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join(each.delta for each in deltas) == done.text
    assert done.text == Transcript.objects.get().text


def test_a_stream_with_speakers_has_segments(client):
    events = [
        check_types(each)
        for each in transcribe(
            client,
            8.0,
            model="gpt-4o-transcribe-diarize",
            response_format="diarized_json",
            stream=True,
        )
    ]

    segments = [e for e in events if isinstance(e, TranscriptionTextSegmentEvent)]
    deltas = [e for e in events if isinstance(e, TranscriptionTextDeltaEvent)]
    assert [e.id for e in segments] == [e.segment_id for e in deltas] != []
    assert "".join(e.delta for e in deltas) == events[-1].text


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"prompt": "Umm, let me think."}, "prompt"),
        ({"temperature": 0.2}, "temperature"),
        ({"chunking_strategy": {"type": "server_vad"}}, "chunking_strategy"),
    ],
)
def test_a_parameter_without_effect_is_a_warning(client, fields, name):
    raw = client.audio.transcriptions.with_raw_response
    file = ("a.wav", make_wav(1.0))

    answer = raw.create(file=file, model="nova-3", **fields)

    assert answer.headers["x-ignored-parameters"] == name
    (warning,) = Job.objects.get().warnings
    assert warning == {
        "code": "parameter_ignored",
        "detail": f"The parameter '{name}' has no effect.",
    }
    assert "keyterm" not in Job.objects.get().options


REFUSED = [
    ({"model": "gpt-9"}, 404, "model_not_found", None),
    ({"response_format": "xml"}, 400, "invalid_value", "response_format"),
    ({"response_format": "diarized_json"}, 400, "invalid_value", "response_format"),
    (
        {"model": "gpt-4o-transcribe", "response_format": "srt"},
        400,
        "invalid_value",
        "response_format",
    ),
    (
        {"response_format": "srt", "stream": True},
        400,
        "invalid_value",
        "response_format",
    ),
    (
        {"timestamp_granularities": ["word"]},
        400,
        "invalid_value",
        "timestamp_granularities",
    ),
    (
        {"response_format": "text", "include": ["logprobs"]},
        400,
        "invalid_value",
        "include",
    ),
    ({"temperature": 1.5}, 400, "invalid_value", "temperature"),
    ({"language": "klingon!"}, 400, "option_invalid", "language"),
    ({"languages": ["en", "!"]}, 400, "option_invalid", "languages"),
    ({"languages": ["en"], "language": "en"}, 400, "invalid_value", "languages"),
    ({"model": "nova-2", "keywords": ["x"]}, 400, "option_conflict", "keywords"),
    ({"chunking_strategy": {"type": "x"}}, 400, "invalid_value", "chunking_strategy"),
    (
        {"known_speaker_names": ["Ann"], "known_speaker_references": ["data:,"]},
        400,
        "unsupported_parameter",
        "known_speaker_names",
    ),
    ({"extra_body": {"langauge": "en"}}, 400, "unknown_parameter", "langauge"),
]


@pytest.mark.parametrize(("fields", "status", "code", "name"), REFUSED)
def test_invalid_requests_are_refused_in_openais_words(
    client, fields, status, code, name
):
    with pytest.raises(openai.APIStatusError) as caught:
        transcribe(client, **fields)

    error = caught.value
    assert (error.status_code, error.code, error.param) == (status, code, name)
    assert error.type == "invalid_request_error"
    assert set(error.body) == {"message", "type", "param", "code"}
    assert not Job.objects.exists()


def test_what_is_not_audio_is_refused_without_a_call(client, emulator):
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(
            file=("a.mp3", b"not audio" * 100), model="whisper-1"
        )

    assert caught.value.code.startswith("audio_")
    assert not [each for each in emulator.log() if each["path"] == "/v1/listen"]


@pytest.mark.parametrize("key", ["sk-wrong", ""])
def test_a_wrong_key_is_an_authentication_error(client, key):
    if not key:
        answer = httpx.post(f"{client.base_url}audio/transcriptions", trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            401,
            "invalid_api_key",
        )
        return
    with pytest.raises(openai.AuthenticationError) as caught:
        transcribe(client.with_options(api_key=key))

    assert caught.value.code == "invalid_api_key"


def test_a_key_without_the_scope_is_refused(client, customer):
    _key, text = make_key(customer.api.tenant, scopes=("jobs:read",))

    with pytest.raises(openai.PermissionDeniedError) as caught:
        transcribe(client.with_options(api_key=text))

    assert caught.value.code == "missing_scope"


def test_a_full_upstream_is_a_rate_limit_and_nothing_is_spent(
    client, customer, settings
):
    settings.LISTEN_WAIT_SECONDS = 1
    customer.permits.acquire(
        customer.region, [Permit(member=f"other.{n}") for n in range(3)]
    )

    with pytest.raises(openai.RateLimitError) as caught:
        transcribe(client)

    assert caught.value.code == "rate_limit_exceeded"
    assert "retry-after" in caught.value.response.headers
    assert (Job.objects.get().status, Attempt.objects.count()) == ("canceled", 0)


def test_an_error_of_the_upstream_is_a_server_error(client, customer, settings):
    settings.MAX_ATTEMPTS = 1
    customer.api.tenant.default_options = {"tag": ["emu:503"]}
    customer.api.tenant.save()

    with pytest.raises(openai.InternalServerError) as caught:
        transcribe(client)

    assert caught.value.type == "server_error"


def test_an_unexpected_error_has_the_envelope_too(client, monkeypatch):
    def explode(*_args, **_named):
        raise RuntimeError

    monkeypatch.setattr(request_slots, "acquire", explode)

    with pytest.raises(openai.InternalServerError) as caught:
        transcribe(client)

    assert (caught.value.status_code, caught.value.type) == (500, "server_error")


@pytest.mark.parametrize("path", ["translations", "speech", "transcriptions/x"])
def test_the_rest_of_the_audio_api_says_what_is_supported(client, customer, path):
    answer = customer.http.post(
        f"{customer.url}/v1/audio/{path}",
        headers=customer.api.headers(),
        files={"file": make_wav(1.0)},
    )

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "unknown_url")
    assert "/v1/audio/transcriptions" in error["message"]


def test_json_and_other_methods_are_refused_in_the_envelope(client, customer):
    url = f"{customer.url}{PATH}"
    headers = customer.api.headers()

    as_json = customer.http.post(url, headers=headers, json={"model": "whisper-1"})
    got = customer.http.get(url, headers=headers)

    assert (as_json.status_code, got.status_code) == (415, 405)
    assert as_json.json()["error"]["type"] == "invalid_request_error"
    assert got.json()["error"]["code"] == "method_not_allowed"
    assert got.headers["allow"].split(", ")[0] == "POST"


def test_openais_header_fields(client):
    raw = client.audio.transcriptions.with_raw_response
    answer = raw.create(file=("a.wav", make_wav(1.0)), model="whisper-1")

    assert answer.request_id
    assert answer.headers["openai-version"] == "2020-10-01"
    assert int(answer.headers["openai-processing-ms"]) > 0
    assert int(answer.headers["x-ratelimit-limit-requests"]) > 0
    assert int(answer.headers["x-ratelimit-remaining-requests"]) >= 0
    assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    assert answer.headers["location"] == f"/v1/jobs/{Job.objects.get().pk}"
    assert json.loads(answer.text)["text"]


def test_the_models_are_those_of_both_apis(client, customer):
    models = {each.id: check_types(each) for each in client.models.list()}

    assert {"whisper-1", "gpt-transcribe", "nova-3", "nova-2-phonecall"} <= set(models)
    assert client.models.retrieve("whisper-1") == models["whisper-1"]
    assert client.models.retrieve("nova-3").canonical_name == "nova-3-general"
    document = customer.http.get(
        f"{customer.url}/v1/models",
        headers={"authorization": f"Token {customer.api.text}"},
    ).json()
    assert set(document) == {"object", "data", "stt", "tts"}


def test_an_operator_maps_other_names(client, settings):
    settings.OPENAI_MODELS = {"house-model": "nova-2"}

    transcribe(client, model="house-model", response_format="verbose_json")

    assert Job.objects.get().options["model"] == "nova-2"
    assert client.models.retrieve("house-model").id == "house-model"
    with pytest.raises(openai.NotFoundError):
        transcribe(client, model="whisper-1")


def test_errors_of_models_have_both_envelopes(client, customer):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-9")

    assert caught.value.code == "model_not_found"
    answer = customer.http.get(f"{customer.url}/v1/models")
    assert set(answer.json()) == {"err_code", "err_msg", "request_id", "error"}
    assert answer.status_code == 401
