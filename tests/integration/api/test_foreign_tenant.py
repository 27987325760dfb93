"""Every route walked with another tenant's ids: nothing is found, nothing changes."""

import pytest
from django.apps import apps
from django.db import connection

from tests.support.api import Api, assert_problem
from tests.support.foreign_tenant import BODIES, MAKERS, make_all
from tests.support.routes import api_routes

OURS = ("jobs", "transcripts", "webhooks", "workers")
ROUTES = [route for route in api_routes() if not route.is_open]
WITH_IDS = [route for route in ROUTES if route.parameters]
WALK = [(method, route) for route in WITH_IDS for method in route.methods]
LISTS = [r for r in ROUTES if "GET" in r.methods and not r.parameters]


def names(routes):
    return pytest.mark.parametrize("route", routes, ids=lambda route: route.documented)


@pytest.fixture
def other(db):
    """Another tenant, who has two of everything."""
    them = Api()
    make_all(them.tenant)
    them.ids = make_all(them.tenant)
    return them


@pytest.fixture
def me(other):
    mine = Api()
    mine.get("/v1/me")  # the use of the key is written once a minute: not below
    return mine


def contents():
    """Return a digest of every table of ours."""
    with connection.cursor() as cursor:
        digests = {}
        for model in apps.get_models():
            if model._meta.app_label in OURS:
                table = model._meta.db_table
                cursor.execute(
                    f'SELECT md5(string_agg(t::text, $$,$$ ORDER BY t::text)) FROM "{table}" t'
                )
                digests[table] = cursor.fetchone()[0]
    return digests


def call(api, method, route, path):
    body = BODIES.get((method, route.documented), b"")
    return api.send(method, path, body)


def without_request(problem):
    return {
        k: v
        for k, v in problem.items()
        if k not in {"request_id", "trace_id", "instance"}
    }


@names(WITH_IDS)
def test_there_is_something_to_try_each_route_with(route):
    unknown = set(route.parameters) - set(MAKERS)

    assert unknown == set(), "add makers for these to tests/support/foreign_tenant.py"


@pytest.mark.parametrize(
    ("method", "route"),
    WALK,
    ids=[f"{method} {route.documented}" for method, route in WALK],
)
def test_a_foreign_id_is_not_there(me, other, method, route):
    path, nobodys = route.path(**other.ids), route.path()
    before = contents()

    answer = call(me, method, route, path)

    told = without_request(assert_problem(answer, 404, "not_found"))
    assert contents() == before
    # Nor can it be told from one that nobody has.
    assert told == without_request(call(me, method, route, nobodys).json())
    # The address is right: its owner is not sent away.
    assert call(other, method, route, path).status_code != 404


@names(LISTS)
def test_a_list_shows_nothing_of_others(me, other, route):
    mine, theirs = me.get(route.path()), other.get(route.path())

    assert mine.status_code == theirs.status_code
    for name, value in other.ids.items():
        assert name == "number" or str(value) not in mine.content.decode(), name
    assert other.tenant.name not in mine.content.decode()
    if "data" in theirs.json():
        assert theirs.json()["data"], "the other tenant has none: this shows nothing"


@names([route for route in LISTS if not route.is_stream])
def test_a_filter_by_a_foreign_id_reveals_nothing(me, other, route):
    known = route.view.get_query_parameters("GET")
    unknown = {name for name in known if name.endswith("_id")} - set(MAKERS)
    unknown -= {"custom_id"}  # the customer's own text
    assert unknown == set(), "add makers for these to tests/support/foreign_tenant.py"
    nobodys = nobodys_ids()

    for name in set(known) & set(MAKERS):
        theirs = me.get(f"{route.path()}?{name}={other.ids[name]}")
        nobody = me.get(f"{route.path()}?{name}={nobodys[name]}")
        owners = other.get(f"{route.path()}?{name}={other.ids[name]}")

        assert theirs.status_code == nobody.status_code
        assert without_request(theirs.json()) == without_request(nobody.json())
        assert theirs.json().get("data", []) == []
        assert owners.status_code == 200


def nobodys_ids():
    kinds = {"key_id": "Nobodys0", "number": 1}
    return {
        name: kinds.get(name, "0197b2f0-0000-7000-8000-000000000000") for name in MAKERS
    }


@names([r for r in LISTS if "cursor" in r.view.get_query_parameters("GET")])
def test_a_foreign_cursor_is_none(me, other, route):
    cursor = other.get(f"{route.path()}?limit=1").json()["next_cursor"]
    assert cursor, "the other tenant has too few rows: this shows nothing"

    answer = me.get(f"{route.path()}?cursor={cursor}")

    assert_problem(answer, 400, "cursor_invalid")
    assert other.get(f"{route.path()}?cursor={cursor}").status_code == 200
