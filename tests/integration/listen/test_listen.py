import inspect
import json
import threading
import time
from urllib.parse import parse_qsl

import pytest
from deepgram.core.api_error import ApiError
from deepgram.listen.v1.media.client import MediaClient
from django.utils import timezone

from jobs import services as job_services
from jobs.models import Attempt, Event, Job, Worker
from jobs.scheduling import direct_claims
from jobs.scheduling.claims import Permit
from jobs.state import JobStatus
from tests.support.factories import make_key, make_wav, move_job
from transcripts.backends import get_backend
from transcripts.models import Transcript
from transcripts.services import run_calls
from transcripts.storage import read_raw
from workers.webhooks.delivery import dispatch, fan_out, services
from workers.webhooks.delivery.schedule import PostResult

# What an SDK sends on its own account, and what we deliver ourselves.
NOT_OPTIONS = {
    "self",
    "url",
    "request",
    "request_options",
    "callback",
    "callback_method",
}


def test_a_file_is_answered_with_deepgrams_document(customer, emulator):
    answer = customer.media.with_raw_response.transcribe_file(
        request=make_wav(2.0), model="nova-2", smart_format=True
    )

    document = answer._response.json()
    assert document["metadata"]["duration"] == pytest.approx(2.0)
    assert document["results"]["channels"][0]["alternatives"][0]["transcript"]
    assert answer.headers["dg-request-id"] == document["metadata"]["request_id"]
    job, attempt = Job.objects.get(), Attempt.objects.get()
    assert (job.status, job.mode, attempt.outcome) == ("completed", "sync", "ok")
    assert attempt.request_id == document["metadata"]["request_id"]
    assert answer.data.results.channels[0].alternatives[0].transcript


def test_the_document_is_byte_for_byte_the_upstreams(customer, emulator):
    answer = customer.post(
        "?model=nova-3", content=make_wav(1.0), headers={"content-type": "audio/wav"}
    )

    assert answer.status_code == 200, answer.text
    assert answer.content == read_raw(Transcript.objects.get())


def test_a_url_is_fetched_by_the_upstream(customer, emulator, site):
    answer = customer.media.transcribe_url(url=f"{site.url}/a.wav", model="nova-3")

    assert answer.results.channels[0].alternatives[0].transcript
    assert Job.objects.get().audio_url == f"{site.url}/a.wav"


VALUES = {
    "callback_method": "POST",
    "custom_intent": ["buy"],
    "custom_intent_mode": "strict",
    "custom_topic": ["ships"],
    "custom_topic_mode": "strict",
    "detect_language": ["en", "es"],
    "diarize_model": "latest",
    "encoding": "linear16",
    "extra": ["order:7"],
    "keyterm": ["Deep gram", "true"],
    "keywords": ["ship:2"],
    "language": "multi",
    "language_hint": ["en"],
    "model": "nova-3",
    "redact": ["pci", "ssn"],
    "replace": ["a:b"],
    "search": ["ship"],
    "summarize": "v2",
    "tag": ["one", "two"],
    "utt_split": 0.5,
    "version": "latest",
}
OTHER_MODEL = {"keywords": "nova-2"}
NEEDS = {
    "encoding": {
        "request_options": {"additional_query_parameters": {"sample_rate": 8000}}
    },
    "language_hint": {"language": "multi"},
}
OPTIONS = sorted(
    set(inspect.signature(MediaClient.transcribe_url).parameters) - NOT_OPTIONS
)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_the_sdk_arrives_at_the_upstream(
    customer, emulator, site, name
):
    value = VALUES.get(name, True)
    asked = {
        "model": OTHER_MODEL.get(name, "nova-3"),
        name: value,
        **NEEDS.get(name, {}),
    }

    customer.media.transcribe_url(url=f"{site.url}/a.wav", **asked)

    (logged,) = [each for each in emulator.log() if each["path"] == "/v1/listen"]
    sent = logged["query"]
    wanted = value if isinstance(value, list) else [value]
    arrived = [each for key, each in pairs(sent) if key == name]
    for each in wanted:
        text = str(each).lower() if isinstance(each, bool) else str(each)
        assert text in arrived, (name, arrived)


def pairs(query):
    if isinstance(query, str):
        return parse_qsl(query)
    return [
        (k, v)
        for k, vs in query.items()
        for v in (vs if isinstance(vs, list) else [vs])
    ]


def test_a_callback_gets_the_document_signed_under_the_id_that_was_answered(
    customer, emulator, site
):
    answer = customer.media.transcribe_file(
        request=make_wav(1.0), model="nova-3", callback=f"{site.url}/hook"
    )

    job = Job.objects.get()
    assert (str(job.pk), job.status, job.mode) == (answer.request_id, "queued", "async")
    run_queued(customer, job)
    deliver_all()
    (received,) = site.received
    document = received["body"]
    assert document["metadata"]["request_id"] == answer.request_id
    assert document["results"]["channels"]
    assert received["signature"].startswith("v1,")


def run_queued(customer, job):
    job.refresh_from_db()
    begun = direct_claims.claim_directly(
        job, permits=customer.permits, worker="w", now=timezone.now()
    )
    run_calls([begun], holder=customer.runner.heartbeat, backend=get_backend())


def deliver_all():
    now = timezone.now()
    Worker.objects.create(name="h", queues=["webhooks"], slots=5, seen_at=now)
    fan_out.fan_out(limit=100, now=now)
    for claim in dispatch.claim(now=now):
        services.deliver([claim], clock=timezone.now)


def test_a_callback_of_a_failed_job_gets_the_error_by_put(customer, emulator, site):
    answer = customer.media.transcribe_url(
        url=f"{site.url}/missing.wav",
        model="nova-3",
        callback=f"{site.url}/hook",
        callback_method="PUT",
    )
    job = Job.objects.get()
    run_queued(customer, job)
    job.refresh_from_db()
    assert job.status == "failed"
    sent = []

    def post(url, *, headers, body, method):
        sent.append((method, json.loads(body)))
        return PostResult(status_code=200)

    now = timezone.now()
    Worker.objects.create(name="h", queues=["webhooks"], slots=5, seen_at=now)
    fan_out.fan_out(limit=100, now=now)
    (claim,) = dispatch.claim(now=now)
    services.deliver([claim], clock=timezone.now, post=post)

    ((method, body),) = sent
    assert method == "PUT"
    assert (body["err_code"], body["request_id"]) == (
        "REMOTE_CONTENT_ERROR",
        answer.request_id,
    )


def test_over_the_limit_it_waits_for_its_turn(customer, emulator):
    customer.region.max_concurrent = 1
    customer.region.save()
    other = Permit(member="other.1")
    customer.permits.acquire(customer.region, [other])
    threading.Timer(1.0, customer.permits.release, ("local", [other])).start()
    began = time.monotonic()

    answer = customer.post(content=make_wav(1.0), headers={"content-type": "audio/wav"})

    assert answer.status_code == 200, answer.text
    assert time.monotonic() - began > 0.9


def test_a_turn_that_does_not_come_is_429_and_nothing_is_spent(
    customer, emulator, settings
):
    settings.LISTEN_WAIT_SECONDS = 1
    others = [Permit(member=f"other.{n}") for n in range(3)]
    customer.permits.acquire(customer.region, others)

    with pytest.raises(ApiError) as caught:
        customer.media.transcribe_file(request=make_wav(1.0), model="nova-3")

    assert caught.value.status_code == 429
    assert caught.value.body["err_code"] == "TOO_MANY_REQUESTS"
    assert "retry-after" in caught.value.headers
    assert (Job.objects.get().status, Attempt.objects.count()) == ("canceled", 0)


def test_what_ends_as_its_caller_gives_up_is_answered(customer, settings, monkeypatch):
    settings.LISTEN_WAIT_SECONDS = 1
    others = [Permit(member=f"other.{n}") for n in range(3)]
    customer.permits.acquire(customer.region, others)
    cancel = job_services.cancel_job

    def cancel_too_late(*, job, **named):
        move_job(job, JobStatus.FAILED, error_code="audio_unreadable")
        return cancel(job=job, **named)

    monkeypatch.setattr(job_services, "cancel_job", cancel_too_late)

    answer = customer.post(content=make_wav(1.0), headers={"content-type": "audio/wav"})

    assert (answer.status_code, answer.json()["err_code"]) == (400, "Bad Request")
    assert Job.objects.get().status == "failed"


def test_a_key_answers_again_only_the_same_options(customer):
    def ask(query):
        return customer.post(
            f"?callback=https://a.example.com/&{query}",
            json={"url": "https://audio.example.com/a.wav"},
            headers={"idempotency-key": "k-1"},
        )

    first, again, other = (
        ask("model=nova-3"),
        ask("model=nova-3"),
        ask("model=nova-2"),
    )

    assert again.json() == first.json()
    assert other.status_code == 422
    assert Job.objects.get().options["model"] == "nova-3"


ERRORS = [
    ("", b"this is no audio", 400, "Bad Request"),
    ("?smart_format=perhaps", None, 400, "INVALID_QUERY_PARAMETER"),
    ("?model=nova-3&keywords=a", None, 400, "INVALID_QUERY_PARAMETER"),
    ("?utt_split=nan", None, 400, "INVALID_QUERY_PARAMETER"),
    ("?callback=http://10.0.0.1/", None, 400, "REMOTE_CONTENT_ERROR"),
    (
        "?callback_method=DELETE&callback=https://a.example.com/",
        None,
        400,
        "INVALID_QUERY_PARAMETER",
    ),
    ("", b"", 400, "Bad Request"),
]


@pytest.mark.parametrize(("query", "content", "status", "code"), ERRORS)
def test_what_it_cannot_take_is_refused_in_deepgrams_envelope(
    customer, query, content, status, code
):
    content = make_wav(1.0) if content is None else content

    answer = customer.post(
        query, content=content, headers={"content-type": "audio/wav"}
    )

    assert (answer.status_code, answer.json()["err_code"]) == (status, code), (
        answer.text
    )
    assert set(answer.json()) == {"err_code", "err_msg", "request_id"}
    assert answer.headers["dg-request-id"] == answer.json()["request_id"]
    assert (Job.objects.count(), Event.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    "body",
    [{}, {"url": 5}, {"url": "https://a.example.com/x", "more": 1}, {"uri": "x"}],
)
def test_a_json_body_names_one_url(customer, body):
    answer = customer.post(json=body)

    assert (answer.status_code, answer.json()["err_code"]) == (400, "Bad Request")


def test_a_url_inside_is_refused_as_deepgram_does(customer, settings):
    settings.EGRESS_ALLOW = []

    answer = customer.post(json={"url": "http://127.0.0.1/a.wav"})

    assert (answer.status_code, answer.json()["err_code"]) == (
        400,
        "REMOTE_CONTENT_ERROR",
    )


@pytest.mark.parametrize("scheme", ["Token", "token", "Bearer"])
def test_the_key_comes_as_a_token_or_as_ours(customer, scheme):
    headers = {"authorization": f"{scheme} {customer.api.text}"}

    answer = customer.http.get(f"{customer.url}/v1/projects", headers=headers)

    assert answer.json() == {
        "projects": [
            {
                "project_id": str(customer.api.tenant.pk),
                "name": customer.api.tenant.name,
            }
        ]
    }


def test_projects_are_the_sdks_probe(customer):
    projects = customer.client().manage.v1.projects.list().projects

    assert [each.project_id for each in projects] == [str(customer.api.tenant.pk)]
    found = customer.client().manage.v1.projects.get(str(customer.api.tenant.pk))
    assert found.name == customer.api.tenant.name
    with pytest.raises(ApiError) as caught:
        customer.client().manage.v1.projects.get("0197b2f0-0000-7000-8000-000000000000")
    assert (caught.value.status_code, caught.value.body["err_code"]) == (
        404,
        "PROJECT_NOT_FOUND",
    )


def test_a_bad_key_or_scope_is_said_in_deepgrams_way(customer):
    with pytest.raises(ApiError) as caught:
        customer.client("nonsense").listen.v1.media.transcribe_file(request=b"x")
    assert (caught.value.status_code, caught.value.body["err_code"]) == (
        401,
        "INVALID_AUTH",
    )

    _, text = make_key(customer.api.tenant, scopes=("jobs:read",))
    answer = customer.post(key=text, content=make_wav(1.0))
    assert (answer.status_code, answer.json()["err_code"]) == (
        403,
        "INSUFFICIENT_PERMISSIONS",
    )
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("emu:400", 400, "Bad Request"),
        ("emu:413", 413, "PAYLOAD_TOO_LARGE"),
        ("emu:415", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
def test_an_upstreams_final_word_is_passed_on(customer, emulator, fault, status, code):
    with pytest.raises(ApiError) as caught:
        customer.media.transcribe_file(
            request=make_wav(1.0), model="nova-3", tag=[fault]
        )

    assert (caught.value.status_code, caught.value.body["err_code"]) == (status, code)
    assert Job.objects.get().status == "failed"


def test_a_body_past_the_limit_is_refused_by_its_head(customer, settings):
    settings.UPLOAD_MAX_BYTES = 1000

    answer = customer.post(content=make_wav(1.0), headers={"content-type": "audio/wav"})

    assert (answer.status_code, answer.json()["err_code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert Job.objects.count() == 0
