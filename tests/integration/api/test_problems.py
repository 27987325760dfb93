"""Every error of every path is a problem, and says nothing that is ours to keep."""

import io
import json
import logging

import pytest
from asgiref.sync import async_to_sync
from django.db import InterfaceError, OperationalError
from django.test import AsyncClient, Client

from jobs import queries
from jobs.errors import PlatformError, ServiceUnavailable, UpstreamError
from tests.support.api import assert_problem
from tests.support.factories import make_job
from transcribe_platform import health
from transcribe_platform.logs import JsonFormatter


def client():
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/", "/v1/nope", "/v1/jobs/"])
def test_a_path_that_leads_nowhere_is_a_problem(db, path):
    problem = assert_problem(client().get(path), 404, "not_found")

    assert problem["instance"] == path


def test_the_admins_pages_stay_pages(db):
    answer = client().get("/admin/nope/", headers={"Accept": "text/html"})

    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("put", "/v1/jobs", {"GET", "POST"}),
        ("delete", "/v1/jobs", {"GET", "POST"}),
        ("patch", "/v1/me", {"GET"}),
        ("get", "/v1/jobs/{}/cancel", {"POST"}),
    ],
)
def test_a_method_that_is_not_allowed_names_those_that_are(api, method, path, allowed):
    job = make_job(api.tenant)

    answer = getattr(api.client, method)(path.format(job.pk), headers=api.headers())

    assert_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) >= allowed


def test_an_answer_in_another_form_is_not_to_be_had(api):
    answer = api.get("/v1/me", {"Accept": "application/xml"})

    assert_problem(answer, 406, "not_acceptable")


def fail(monkeypatch, error):
    def broken(**_named):
        raise error

    monkeypatch.setattr(queries, "get_job", broken)


PATH = "/v1/jobs/0197b2f0-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "error",
    [ValueError("secret detail"), PlatformError("secret detail"), KeyError("x")],
)
def test_an_error_of_ours_says_nothing(api, monkeypatch, error):
    fail(monkeypatch, error)

    problem = assert_problem(api.get(PATH), 500, "server_error")

    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    "error", [OperationalError("secret host"), InterfaceError("secret host")]
)
def test_a_database_that_is_away_means_later(api, monkeypatch, error):
    fail(monkeypatch, error)

    answer = api.get(PATH)

    problem = assert_problem(answer, 503, "service_unavailable")
    assert "secret" not in str(problem)
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ServiceUnavailable(), 503, "service_unavailable"),
        (UpstreamError("It failed.", code="upstream_timeout"), 502, "upstream_timeout"),
    ],
)
def test_each_error_has_its_status(api, monkeypatch, error, status, code):
    fail(monkeypatch, error)

    assert_problem(api.get(PATH), status, code)


def test_a_database_away_outside_the_api_is_said_the_same_way(db, monkeypatch):
    def away(_request):
        raise OperationalError("secret host")

    monkeypatch.setattr(health, "_check_redis", lambda: away(None))

    problem = assert_problem(client().get("/health/ready"), 503, "service_unavailable")

    assert "secret" not in str(problem)


def test_a_host_that_is_not_ours_is_refused_as_a_problem(api, settings):
    settings.ALLOWED_HOSTS = ["api.example.com"]

    assert_problem(api.get("/v1/me", {"Host": "evil.example"}), 400, "bad_request")


def test_a_request_id_is_echoed_in_the_problem(db):
    answer = client().get("/v1/nope", headers={"X-Request-Id": "abc-123"})

    assert assert_problem(answer, 404, "not_found")["request_id"] == "abc-123"


def test_a_problem_is_json_whatever_was_accepted(api):
    answer = api.get(
        "/v1/transcripts/" + PATH.removeprefix("/v1/jobs/"), {"Accept": "text/plain"}
    )

    assert_problem(answer, 404, "not_found")


class Broken:
    """Middleware with a fault."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        raise KeyError("secret detail")


def test_a_fault_in_middleware_is_a_problem_too(api, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.Broken"]

    answer = client().get("/v1/me", headers={"X-Request-Id": "mine"})

    problem = assert_problem(answer, 500, "server_error")
    assert problem["request_id"] == "mine"
    assert "secret" not in str(problem)


@pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/v1/jobs", 401, "key_missing"), ("/v1/nowhere", 404, "not_found")],
)
def test_log_lines_of_errors_contain_the_problem_code(
    transactional_db, path, status, code, is_async
):
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger("django.request")
    log.addHandler(handler)
    try:
        if is_async:
            answer = async_to_sync(AsyncClient().get)(path)
        else:
            answer = Client().get(path)
    finally:
        log.removeHandler(handler)

    (line,) = [json.loads(text) for text in lines.getvalue().splitlines()]
    assert answer.status_code == status
    assert line["problem_code"] == code
    assert line["request_id"] == answer.headers["X-Request-Id"]
