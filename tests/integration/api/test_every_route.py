"""What holds for every route, walked from the URL resolver: new ones join by themselves."""

import json
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.support.api import assert_problem, send
from tests.support.factories import make_key, make_tenant
from tests.support.routes import METHODS, api_routes, operations

WRITING = ("POST", "PUT", "PATCH", "DELETE")
# Whoever has a key may ask whose it is.
WITHOUT_SCOPE = {("GET", "/v1/me")}
CLOSED = [route for route in api_routes() if not route.is_open]
OURS = ("jobs", "transcripts", "webhooks", "workers")


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


@pytest.fixture(autouse=True)
def untouched(api):
    """Count every row of ours before and after: no case here may write one."""
    before = count_rows()
    yield
    assert count_rows() == before


def count_rows():
    tables = sorted(
        model._meta.db_table
        for model in apps.get_models()
        if model._meta.app_label in OURS
    )
    query = " UNION ALL ".join(f"SELECT '{t}', count(*) FROM {t}" for t in tables)
    with connection.cursor() as cursor:
        cursor.execute(query)
        # Keys and tenants are made by the cases themselves.
        return {
            table: count
            for table, count in cursor.fetchall()
            if table not in {"jobs_apikey", "jobs_tenant"}
        }


def test_the_walk_meets_the_routes_there_are():
    paths = {route.documented for route in api_routes()}

    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/transcripts/{job_id}"} <= paths
    # The document itself is open, and a plain function.
    assert [r.documented for r in api_routes() if r.is_open] == []


def test_every_route_is_documented_and_nothing_else():
    document = json.loads(Client().get("/v1/openapi.json").content)
    there = {
        (m, r.documented) for r in api_routes() for m in r.methods if not r.is_open
    }

    documented = {
        (method.upper(), path)
        for path, entry in document["paths"].items()
        for method in entry
        if method.upper() in METHODS
    }

    assert documented == there


def with_other_checksum(text):
    return text[:-1] + ("0" if text[-1] != "0" else "1")


BAD_KEYS = {
    "no key": (lambda: "", "key_missing"),
    "malformed": (lambda: "tp_live_short", "key_malformed"),
    "wrong checksum": (lambda: with_other_checksum(make_key()[1]), "key_malformed"),
    "revoked": (lambda: revoke(make_key()), "key_invalid"),
    "expired": (
        lambda: make_key(expires_at=timezone.now() - timedelta(seconds=1))[1],
        "key_expired",
    ),
    "of a closed account": (
        lambda: make_key(make_tenant(is_active=False))[1],
        "key_invalid",
    ),
}


def revoke(made):
    key, text = made
    key.revoked_at = timezone.now()
    key.save()
    return text


@operations()
def test_no_route_opens_without_a_good_key(client, method, route, subtests):
    for kind, (make, code) in BAD_KEYS.items():
        with subtests.test(kind):
            answer = send(client, method, route.path(), key=make(), body={})

            assert_problem(answer, 401, code)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "RateLimit" not in answer.headers


@operations()
def test_every_route_asks_for_a_scope(client, method, route):
    _key, text = make_key(scopes=())

    answer = send(client, method, route.path(), key=text, body={})

    if (method, route.documented) in WITHOUT_SCOPE:
        assert answer.status_code == 200
    else:
        assert_problem(answer, 403, "scope_missing")


@operations("GET")
def test_head_needs_what_get_needs(client, api, method, route):
    _key, powerless = make_key(scopes=())
    path = route.path()

    nobody = send(client, "HEAD", path)
    refused = send(client, "HEAD", path, key=powerless)
    head, get = (send(client, way, path, key=api.text) for way in ("HEAD", "GET"))

    may = (method, route.documented) in WITHOUT_SCOPE
    assert (nobody.status_code, refused.status_code) == (401, 200 if may else 403)
    assert head.status_code == get.status_code
    assert head.headers.get("ETag") == get.headers.get("ETag")


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: route.documented)
def test_other_methods_are_refused_by_name(client, api, route):
    for method in {*METHODS, "TRACE", "BREW"} - {*route.methods}:
        answer = send(client, method, route.path(), key=api.text)

        assert_problem(answer, 405, "method_not_allowed")
        allowed = set(answer.headers["Allow"].split(", "))
        assert allowed - {"HEAD", "OPTIONS"} == set(route.methods)


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: route.documented)
def test_options_names_the_methods_and_lets_no_other_origin_in(client, api, route):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}

    answer = send(client, "OPTIONS", route.path(), key=api.text, headers=asked)

    assert answer.status_code == 204
    assert answer.content == b""
    assert {*route.methods, "OPTIONS"} <= set(answer.headers["Allow"].split(", "))
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@operations()
def test_a_foreign_origin_gets_no_leave_to_read(client, api, method, route):
    origin = {"Origin": "https://evil.example"}

    answer = send(client, method, f"{route.path()}?no=1", key=api.text, headers=origin)

    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@operations()
def test_every_answer_names_the_request_and_is_nobody_elses(client, api, method, route):
    headers = {"X-Request-Id": "mine-1"}

    answer = send(client, method, f"{route.path()}?no=1", key=api.text, headers=headers)

    assert_problem(answer, 400, "parameter_unknown")
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "Authorization" in answer.headers["Vary"]


@operations()
def test_a_parameter_that_is_not_known_is_refused(client, api, method, route):
    answer = send(client, method, f"{route.path()}?no=1", key=api.text, body={})

    problem = assert_problem(answer, 400, "parameter_unknown")
    assert problem["errors"][0]["parameter"] == "no"


@operations()
def test_a_parameter_given_twice_is_refused(client, api, method, route):
    for name in route.view.get_query_parameters(method):
        full = name + "x" * name.endswith(".")
        twice = f"{full}=json&{full}=json"

        answer = send(client, method, f"{route.path()}?{twice}", key=api.text)

        assert_problem(answer, 400, "parameter_repeated")


@operations()
def test_a_slash_at_the_end_is_another_address(client, api, method, route):
    answer = send(client, method, f"{route.path()}/", key=api.text, body={})

    assert_problem(answer, 404, "not_found")


@operations("GET")
def test_an_answer_in_a_form_there_is_not_is_refused(client, api, method, route):
    headers = {"Accept": "application/x-nothing"}

    answer = send(client, method, route.path(), key=api.text, headers=headers)

    assert_problem(answer, 406, "not_acceptable")


BAD_BODIES = {
    "bad JSON": (b'{"a": ', 400, "json_invalid"),
    "doubled keys": (b'{"a": 1, "a": 2}', 400, "json_invalid"),
    "NaN": (b'{"a": NaN}', 400, "json_invalid"),
    "NUL": (b'{"a": "\\u0000"}', 400, "text_invalid"),
    "NUL in a key": (b'{"\\u0000": 1}', 400, "text_invalid"),
    "half a pair": (b'{"a": "\\ud83d"}', 400, "text_invalid"),
    "a mebibyte and one": (
        b'{"a": "' + b"x" * (1024**2 - 8) + b'"}',
        413,
        "body_too_large",
    ),
    "500 deep": (b'{"a":' * 500 + b"1" + b"}" * 500, 400, "json_invalid"),
    "10**400": (b'{"a": 1' + b"0" * 400 + b"}", 400, "json_invalid"),
    "an array": (b"[1]", 400, "json_invalid"),
    "text": (b'"x"', 400, "json_invalid"),
    "null": (b"null", 400, "json_invalid"),
    "no UTF-8": (b"\xff\xfe{}", 400, "json_invalid"),
}


@operations(*WRITING)
def test_an_unsound_body_is_refused(client, api, method, route, subtests):
    for kind, (body, status, code) in BAD_BODIES.items():
        with subtests.test(kind):
            answer = send(client, method, route.path(), key=api.text, body=body)

            assert_problem(answer, status, code)


@operations(*WRITING)
def test_a_body_of_another_type_is_refused(client, api, method, route, subtests):
    asked = {"key": api.text, "body": b'{"a": 1}'}
    for content_type in ("text/plain", "audio/wav", "", "json"):
        with subtests.test(content_type):
            answer = send(
                client, method, route.path(), content_type=content_type, **asked
            )

            assert_problem(answer, 415, "unsupported_media_type")


@operations("POST", "PUT", "PATCH")
def test_a_field_that_is_not_known_is_refused(client, api, method, route):
    answer = send(client, method, route.path(), key=api.text, body={"no-such": 1})

    if route.parameters and answer.status_code == 404:
        return  # looked for its row first
    problem = assert_problem(answer, 400, "field_unknown")
    assert problem["errors"][0]["pointer"].endswith("/no-such")
