"""The rest of Deepgram's API: tokens, models, the project and its ledger."""

from datetime import timedelta

import httpx
import jwt
import pytest
from deepgram import DeepgramClient
from deepgram.core.api_error import ApiError
from django.conf import settings
from django.utils import timezone

from jobs.models import ApiKey, Job, QuotaCounter
from tests.support.factories import make_attempt, make_job, make_key, make_wav
from tests.support.routes import NOBODY

WRONG = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"


@pytest.fixture
def grant(customer):
    """Ask for a token, and return it."""

    def ask(key="", **body):
        response = customer.http.post(
            f"{customer.url}/v1/auth/grant",
            headers={"authorization": f"Token {key or customer.api.text}"},
            json=body,
        )
        assert response.status_code == 200, response.text
        return response.json()["access_token"]

    return ask


def post_audio(customer, token, path="/v1/listen", scheme="Bearer"):
    headers = {"authorization": f"{scheme} {token}", "content-type": "audio/wav"}
    url = f"{customer.url}{path}"
    return customer.http.post(url, headers=headers, content=make_wav())


def assert_error(response, status, code):
    body = response.json()
    assert (response.status_code, body["err_code"]) == (status, code), body
    assert set(body) == {"err_code", "err_msg", "request_id"}
    assert response.headers["dg-error"] == code
    assert response.headers["dg-request-id"] == body["request_id"] != ""
    return body["err_msg"]


def test_the_sdk_transcribes_with_a_token(customer, emulator):
    granted = customer.client().auth.v1.tokens.grant(ttl_seconds=60)

    found = DeepgramClient(
        access_token=granted.access_token,
        environment=customer.client()._client_wrapper.get_environment(),
        httpx_client=customer.http,
    ).listen.v1.media.transcribe_file(request=make_wav(), model="nova-3")

    assert granted.expires_in == 60
    assert found.results.channels[0].alternatives[0].transcript
    assert Job.objects.get().api_key == customer.api.key


def test_a_token_lives_thirty_seconds_and_never_longer_than_its_key(customer):
    def ask(**body):
        headers = {"authorization": f"Token {customer.api.text}"}
        url = f"{customer.url}/v1/auth/grant"
        return customer.http.post(url, headers=headers, json=body)

    assert ask().json()["expires_in"] == 30
    assert ask(ttl_seconds=3600.0).json()["expires_in"] == 3600
    ends = timezone.now() + timedelta(seconds=100)
    ApiKey.objects.update(expires_at=ends)
    assert 97 <= ask(ttl_seconds=3600).json()["expires_in"] <= 100
    for seconds in (0, 3601, 1.5, "30", True, []):
        assert "ttl_seconds" in assert_error(
            ask(ttl_seconds=seconds), 400, "Bad Request"
        )


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1/jobs",
        "POST /v1/jobs",
        "GET /v1/api-keys",
        "GET /v1/webhook-endpoints",
        "GET /v1/usage",
        "GET /v1/transcripts",
        "GET /v1/me",
    ],
)
def test_a_token_may_only_transcribe(customer, grant, line):
    method, path = line.split()
    headers = {"authorization": f"Bearer {grant()}"}

    answer = customer.http.request(method, f"{customer.url}{path}", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize("path", ["/v1/projects", "/v1/auth/grant", "/v1/speak"])
def test_a_token_opens_no_other_path_of_deepgrams(customer, grant, path):
    method = "POST" if path == "/v1/auth/grant" else "GET"
    headers = {"authorization": f"Bearer {grant()}"}

    answer = customer.http.request(method, f"{customer.url}{path}", headers=headers)

    assert_error(answer, 403, "INSUFFICIENT_PERMISSIONS")


def test_a_key_that_may_not_transcribe_grants_no_token(customer):
    _, reader = make_key(customer.api.tenant, scopes=("jobs:read", "keys:admin"))
    answer = customer.http.post(
        f"{customer.url}/v1/auth/grant", headers={"authorization": f"Token {reader}"}
    )

    assert_error(answer, 403, "INSUFFICIENT_PERMISSIONS")


def test_a_token_ends_with_its_key(customer, grant):
    token = grant(ttl_seconds=600)
    assert post_audio(customer, token).status_code == 200

    ApiKey.objects.update(allowed_ips=["192.0.2.0/24"])
    assert_error(post_audio(customer, token), 403, "INSUFFICIENT_PERMISSIONS")
    ApiKey.objects.update(allowed_ips=[], scopes=["jobs:read"])
    assert_error(post_audio(customer, token), 403, "INSUFFICIENT_PERMISSIONS")
    ApiKey.objects.update(revoked_at=timezone.now(), scopes=["jobs:write"])
    assert_error(post_audio(customer, token), 401, "INVALID_AUTH")
    ApiKey.objects.all().delete()
    assert_error(post_audio(customer, token), 401, "INVALID_AUTH")
    assert Job.objects.count() == 1


def forge(key, **claims):
    now = int(timezone.now().timestamp())
    good = {"iss": "transcription-platform", "sub": key, "iat": now, "exp": now + 60}
    return {**good, **claims}


@pytest.mark.parametrize(
    "make",
    [
        lambda key: WRONG,
        lambda key: jwt.encode(forge(key), "another secret" * 4),
        lambda key: jwt.encode(forge(key), settings.SECRET_KEY * 4),
        lambda key: jwt.encode(forge(key), None, algorithm="none"),
    ],
)
def test_a_forged_token_is_rejected(customer, make):
    token = make(customer.api.key.public_id)

    assert_error(post_audio(customer, token), 401, "INVALID_AUTH")
    assert not Job.objects.exists()


def test_an_expired_token_is_rejected(customer, grant, monkeypatch):
    token = grant(ttl_seconds=1)
    later = timezone.now() + timedelta(seconds=2)
    monkeypatch.setattr(timezone, "now", lambda: later)

    message = assert_error(post_audio(customer, token), 401, "INVALID_AUTH")
    assert "expired" in message


UNSERVED = {
    "POST /v1/read": 501,
    "POST /v1/speak": 501,
    "GET /v1/agent/settings/think/models": 501,
    "POST /v2/speak": 501,
    "GET /v2/other": 404,
    "POST /v1/listen/": 404,
    "GET /v1/projects/": 404,
    "GET /v1/auth/token": 404,
    "GET /v1/auth/grant": 405,
    "DELETE /v1/projects": 405,
    f"GET /v1/projects/{NOBODY}/keys": 501,
    f"DELETE /v1/projects/{NOBODY}/keys/1": 501,
    f"GET /v1/projects/{NOBODY}/usage/breakdown": 501,
    f"GET /v1/projects/{NOBODY}/billing/fields": 501,
    f"GET /v1/projects/{NOBODY}/nothing": 404,
    "GET /v1/projects/not-a-uuid/requests": 404,
    f"PATCH /v1/projects/{NOBODY}/usage/": 501,
}


@pytest.mark.parametrize("line", UNSERVED)
def test_a_path_that_is_not_served_is_answered_in_deepgrams_envelope(customer, line):
    method, path = line.split()
    url, key = f"{customer.url}{path}", customer.api.text

    answer = customer.http.request(
        method, url, headers={"authorization": f"Token {key}"}
    )
    unknown = customer.http.request(method, url)

    assert_error(answer, UNSERVED[line], answer.json()["err_code"])
    assert_error(unknown, 401, "INVALID_AUTH")


def test_the_sdk_reads_why_a_path_is_not_served(customer):
    with pytest.raises(ApiError) as raised:
        customer.client().manage.v1.projects.keys.list(str(customer.api.tenant.pk))

    assert raised.value.status_code == 501
    assert "/v1/api-keys" in raised.value.body["err_msg"]


RESOURCES = ["models", "models/nova-3", "requests", f"requests/{NOBODY}", "usage"]


@pytest.mark.parametrize("resource", ["", *RESOURCES, "balances"])
def test_a_foreign_project_is_not_found(customer, resource):
    path = f"{customer.url}/v1/projects/{NOBODY}/{resource}".rstrip("/")

    answer = customer.http.get(
        path, headers={"authorization": f"Token {customer.api.text}"}
    )

    assert_error(answer, 404, "PROJECT_NOT_FOUND")


def test_the_models_of_a_project(customer):
    models = customer.client().manage.v1.projects.models
    project = str(customer.api.tenant.pk)

    listed = models.list(project, include_outdated=True)

    by_name = {each.canonical_name: each for each in listed.stt}
    assert by_name["nova-3-medical"].architecture == "nova-3"
    assert by_name["nova-3-medical"].streaming
    assert not by_name["whisper-large"].streaming
    assert listed.tts == []
    for name in ("nova-3", by_name["nova-3-general"].uuid_):
        found = customer.http.get(
            f"{customer.url}/v1/projects/{project}/models/{name}",
            headers={"authorization": f"Token {customer.api.text}"},
        )
        assert found.json()["canonical_name"] == "nova-3-general"
    with pytest.raises(ApiError) as raised:
        models.get(project, "nova-9")
    assert raised.value.body["err_code"] == "MODEL_NOT_FOUND"


def test_requests_have_the_ids_that_callers_received(customer, emulator):
    answer = post_audio(customer, customer.api.text)
    failed = make_job(customer.api.tenant, status="failed")
    make_job(status="failed")  # another tenant's
    project = str(customer.api.tenant.pk)
    requests = customer.client().manage.v1.projects.requests

    listed = requests.list(project)
    succeeded = requests.list(project, status="succeeded", limit=1, page=0)
    found = requests.get(project, answer.headers["dg-request-id"])
    by_job = requests.get(project, str(failed.pk))

    ids = [each.request_id for each in listed.requests]
    assert ids == [str(failed.pk), answer.headers["dg-request-id"]]
    assert [each.request_id for each in succeeded.requests] == ids[1:]
    assert (succeeded.page, succeeded.limit) == (0, 1)
    (request,) = succeeded.requests
    assert (request.code, request.project_uuid) == (200, project)
    assert request.api_key_id == customer.api.key.public_id
    assert request.response["details"]["duration"] == 0.5
    assert request.response["details"]["usd"] > 0
    assert request.response["details"]["method"] == "sync"
    assert found.request.request_id == ids[1]
    assert (by_job.request.code, by_job.request.response["details"]["usd"]) == (503, 0)


def ask_requests(customer, **params) -> httpx.Response:
    path = f"/v1/projects/{customer.api.tenant.pk}/requests"
    headers = {"authorization": f"Token {customer.api.text}"}
    return customer.http.get(f"{customer.url}{path}", headers=headers, params=params)


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({}, 1),
        ({"method": "async"}, 1),
        ({"method": "streaming"}, 0),
        ({"endpoint": "listen", "deployment": "hosted"}, 1),
        ({"endpoint": "speak"}, 0),
        ({"accessor": "nobody"}, 0),
        ({"request_id": str(NOBODY)}, 0),
        ({"start": "2020-01-01", "end": "2099-12-31"}, 1),
        ({"end": "2020-01-01"}, 0),
        ({"start": "2099-01-01T00:00:00Z"}, 0),
        ({"limit": "10.0", "page": "0"}, 1),
        ({"page": "1"}, 0),
        ({"unknown": "filter"}, 1),
    ],
)
def test_requests_are_filtered(customer, params, count):
    make_job(customer.api.tenant, status="failed")

    answer = ask_requests(customer, **params)

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["requests"]) == count


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "x"},
        {"page": "1.5"},
        {"page": "1000000"},
        {"start": "yesterday"},
        {"request_id": "1"},
        {"status": "maybe"},
        {"method": "smoke"},
    ],
)
def test_an_invalid_filter_is_named(customer, params):
    message = assert_error(
        ask_requests(customer, **params), 400, "INVALID_QUERY_PARAMETER"
    )

    assert message.startswith(f"{next(iter(params))}: ")


def test_usage_and_balances_come_from_the_ledger(customer):
    tenant = customer.api.tenant
    tenant.audio_seconds_per_month = 36_000
    tenant.save()
    job = make_job(tenant, status="completed", duration_seconds=1800.0)
    make_attempt(job, audio_seconds=1800.0)
    QuotaCounter.objects.filter(period__startswith="month").update(used=1800)
    projects = customer.client().manage.v1.projects

    used = projects.usage.get(str(tenant.pk))
    balances = projects.billing.balances.list(str(tenant.pk)).balances

    (day,) = used.results
    assert (day["hours"], day["requests"]) == (0.5, 1)
    assert used.resolution.units == "day"
    (balance,) = balances
    assert (balance.units, balance.amount) == ("hour", pytest.approx(9.5))
    with pytest.raises(ApiError) as raised:
        projects.usage.get(str(tenant.pk), model="nova-3")
    assert raised.value.body["err_msg"].startswith("model: ")


def test_the_ledger_needs_its_scope(customer):
    _, writer = make_key(customer.api.tenant, scopes=("jobs:write",))
    path = f"{customer.url}/v1/projects/{customer.api.tenant.pk}/requests"

    answer = customer.http.get(path, headers={"authorization": f"Token {writer}"})

    assert_error(answer, 403, "INSUFFICIENT_PERMISSIONS")


def test_the_models_have_deepgrams_shape_too(customer):
    listed = customer.client().manage.v1.models.list()
    name = next(each for each in listed.stt if each.canonical_name == "nova-2-video")

    found = customer.client().manage.v1.models.get(name.uuid_)

    assert found.canonical_name == "nova-2-video"
    assert listed.object == "list"
