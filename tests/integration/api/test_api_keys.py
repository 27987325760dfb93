"""The API keys API: what a key may do to keys, and what never happens."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.utils import timezone

from jobs.accounts import keys
from jobs.accounts.authentication import ALL_SCOPES, parse_public_id
from jobs.models import ApiKey, Event, IdempotencyKey
from tests.support.api import Api, assert_problem, send_as
from tests.support.factories import make_key, make_tenant

KEYS = "/v1/api-keys"
DAY = timedelta(days=1)
ASKED = {"name": "ci", "scopes": ["jobs:read"]}


def opens(text):
    return send_as(text, "GET", "/v1/me").status_code == 200


def audited():
    return [
        (event.type, event.actor, event.data) for event in Event.objects.order_by("pk")
    ]


def nearly(moment, expected):
    return abs(moment - expected) < timedelta(seconds=30)


def test_a_key_is_shown_once_and_opens_the_door(api):
    answer = api.post(KEYS, ASKED | {"allowed_ips": ["127.0.0.1", "10.0.0.0/8"]})

    made = answer.json()
    key = ApiKey.objects.get(public_id=made["id"])
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{KEYS}/{made['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert parse_public_id(made["key"]) == made["id"]
    assert made == {
        "object": "api_key",
        "id": key.public_id,
        "name": "ci",
        "scopes": ["jobs:read"],
        "allowed_ips": ["10.0.0.0/8", "127.0.0.1"],
        "expires_at": None,
        "created_at": made["created_at"],
        "last_used_at": None,
        "revoked_at": None,
        "replaced_by": None,
        "key": made["key"],
    }
    assert opens(made["key"])
    shown = send_as(api.text, "GET", f"{KEYS}/{made['id']}").json()
    assert shown.pop("last_used_at") is not None
    assert shown == {n: v for n, v in made.items() if n not in {"key", "last_used_at"}}


def test_what_was_done_is_audited_without_the_text(api):
    made = api.post(KEYS, ASKED).json()
    path = f"{KEYS}/{made['id']}"
    send_as(api.text, "PATCH", path, {"name": "CI", "allowed_ips": []})
    new = api.post(f"{path}/rotate", {"overlap_seconds": 60}).json()
    for _ in range(2):
        send_as(api.text, "DELETE", path)

    actor = f"key:{api.key.public_id}"
    ends = ApiKey.objects.get(public_id=made["id"]).expires_at
    facts = {"name": "ci", "scopes": ["jobs:read"], "allowed_ips": []}
    assert audited() == [
        ("api_key.created", actor, {"key": made["id"], "expires_at": None, **facts}),
        (
            "api_key.changed",
            actor,
            {"key": made["id"], "changes": {"name": ["ci", "CI"]}},
        ),
        (
            "api_key.rotated",
            actor,
            {"key": made["id"], "new_key": new["id"], "expires_at": iso(ends)},
        ),
        ("api_key.revoked", actor, {"key": made["id"]}),
    ]
    stored = str(list(Event.objects.values()))
    assert made["key"][17:] not in stored
    assert new["key"][17:] not in stored


def iso(moment):
    return json.loads(json.dumps(moment, cls=DjangoJSONEncoder))


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"name": None}, "field_invalid", "/name"),
        ({"name": " "}, "field_invalid", "/name"),
        ({"name": "x" * 201}, "field_invalid", "/name"),
        ({"scopes": []}, "field_invalid", "/scopes"),
        ({"scopes": "jobs:read"}, "field_invalid", "/scopes"),
        ({"scopes": ["jobs:rule"]}, "field_invalid", "/scopes/0"),
        ({"scopes": ["jobs:read"] * 7}, "field_invalid", "/scopes"),
        ({"allowed_ips": "10.0.0.1"}, "field_invalid", "/allowed_ips"),
        ({"allowed_ips": ["10.0.0.1/8"]}, "field_invalid", "/allowed_ips/0"),
        ({"allowed_ips": ["10.0.0"]}, "field_invalid", "/allowed_ips/0"),
        ({"allowed_ips": ["office.example"]}, "field_invalid", "/allowed_ips/0"),
        ({"allowed_ips": ["fe80::1%eth0"]}, "field_invalid", "/allowed_ips/0"),
        ({"allowed_ips": [167772161]}, "field_invalid", "/allowed_ips/0"),
        ({"allowed_ips": ["::ffff:10.0.0.1"]}, "field_invalid", "/allowed_ips/0"),
        (
            {"allowed_ips": [f"10.0.0.{n}" for n in range(101)]},
            "field_invalid",
            "/allowed_ips",
        ),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "field_invalid", "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59Z"}, "field_invalid", "/expires_at"),
        ({"expires_in_seconds": 0}, "field_invalid", "/expires_in_seconds"),
        ({"expires_in_seconds": 2**53 - 1}, "field_invalid", "/expires_in_seconds"),
        (
            {"expires_in_seconds": 9, "expires_at": "2030-01-01T00:00:00Z"},
            "field_conflict",
            "/expires_at",
        ),
        ({"key": "tp_live_x"}, "field_unknown", "/key"),
    ],
)
def test_a_bad_request_makes_no_key(api, change, code, pointer):
    problem = assert_problem(api.post(KEYS, ASKED | change), 400, code)

    places = [entry["pointer"] for entry in problem["errors"]]
    assert places == [pointer]
    assert (ApiKey.objects.count(), Event.objects.count()) == (1, 0)


def test_an_address_is_kept_in_its_shortest_form(api):
    given = ["2001:0DB8:0::1", "192.0.2.1/32", "192.0.2.1", "2001:db8::/32"]

    made = api.post(KEYS, ASKED | {"allowed_ips": given}).json()

    assert made["allowed_ips"] == ["192.0.2.1", "2001:db8::/32", "2001:db8::1"]


def test_no_key_gives_what_it_does_not_have(db):
    key, text = make_key(scopes=("keys:admin", "jobs:read"))
    stronger, _ = make_key(key.tenant)
    body = {"name": "x", "scopes": ["jobs:read", "jobs:write"]}
    path = f"{KEYS}/{stronger.public_id}"

    for answer in (
        send_as(text, "POST", KEYS, body),
        send_as(text, "POST", f"{path}/rotate"),
        send_as(text, "PATCH", path, {"allowed_ips": []}),
    ):
        problem = assert_problem(answer, 403, "scope_missing")
        assert "The calling key lacks the scope" in problem["detail"]

    assert (ApiKey.objects.count(), Event.objects.count()) == (2, 0)
    stronger.refresh_from_db()
    assert (stronger.replaced_by, stronger.expires_at) == (None, None)
    made = send_as(
        text, "POST", KEYS, {"name": "x", "scopes": ["keys:admin", "jobs:read"]}
    )
    assert made.json()["scopes"] == ["jobs:read", "keys:admin"]
    assert send_as(text, "DELETE", path).status_code == 204


def test_a_key_without_the_scope_sees_no_keys(db):
    _, text = make_key(scopes=tuple(s for s in ALL_SCOPES if s != "keys:admin"))

    assert_problem(send_as(text, "GET", KEYS), 403, "scope_missing")


def test_keys_are_listed_newest_first_and_only_the_tenants_own(api):
    Api()
    ids = [api.post(KEYS, ASKED).json()["id"] for _ in range(3)]
    send_as(api.text, "DELETE", f"{KEYS}/{ids[0]}")

    first = api.get(f"{KEYS}?limit=3").json()
    second = api.get(f"{KEYS}?limit=3&cursor={first['next_cursor']}").json()

    assert [key["id"] for key in first["data"]] == ids[::-1]
    assert [key["id"] for key in second["data"]] == [api.key.public_id]
    assert first["data"][2]["revoked_at"] is not None
    assert (first["has_more"], second["has_more"]) == (True, False)


def test_a_revoked_key_is_dead_at_once_and_for_ever(api):
    made = api.post(KEYS, ASKED).json()
    path = f"{KEYS}/{made['id']}"

    assert send_as(api.text, "DELETE", path).status_code == 204
    revoked_at = ApiKey.objects.get(public_id=made["id"]).revoked_at
    assert send_as(api.text, "DELETE", path).status_code == 204

    assert not opens(made["key"])
    assert ApiKey.objects.get(public_id=made["id"]).revoked_at == revoked_at
    assert_problem(api.post(f"{path}/rotate"), 409, "key_not_active")
    changed = send_as(api.text, "PATCH", path, {"name": "x"})
    assert_problem(changed, 409, "key_not_active")


def test_the_last_key_can_be_revoked_and_the_operator_makes_another(api, capsys):
    assert send_as(api.text, "DELETE", f"{KEYS}/{api.key.public_id}").status_code == 204

    assert not opens(api.text)
    call_command("create_api_key", "--tenant", api.tenant.name)
    assert opens(capsys.readouterr().out.strip())


def test_both_keys_work_until_the_overlap_ends(api, monkeypatch):
    body = ASKED | {"allowed_ips": ["127.0.0.0/8"]}
    old = api.post(KEYS, body).json()

    new = api.post(f"{KEYS}/{old['id']}/rotate", {"overlap_seconds": 3600}).json()

    same = ("name", "scopes", "allowed_ips", "expires_at")
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    assert (opens(old["key"]), opens(new["key"])) == (True, True)
    row = ApiKey.objects.get(public_id=old["id"])
    assert nearly(row.expires_at, timezone.now() + timedelta(hours=1))
    assert api.get(f"{KEYS}/{old['id']}").json()["replaced_by"] == new["id"]
    later = timezone.now() + timedelta(hours=1, seconds=1)
    monkeypatch.setattr("jobs.accounts.authentication.timezone.now", lambda: later)
    assert (opens(old["key"]), opens(new["key"])) == (False, True)


def test_the_overlap_is_a_day_unless_said_and_may_be_none(api):
    first, second = (api.post(KEYS, ASKED).json() for _ in range(2))

    api.post(f"{KEYS}/{first['id']}/rotate")
    api.post(f"{KEYS}/{second['id']}/rotate", {"overlap_seconds": 0})

    row = ApiKey.objects.get(public_id=first["id"])
    assert nearly(row.expires_at, timezone.now() + DAY)
    assert (opens(first["key"]), opens(second["key"])) == (True, False)


@pytest.mark.parametrize("seconds", [-1, 604_801, "60", 1.5, True, None])
def test_an_overlap_of_more_than_a_week_is_refused(api, seconds):
    answer = api.post(
        f"{KEYS}/{api.key.public_id}/rotate", {"overlap_seconds": seconds}
    )

    problem = assert_problem(answer, 400, "field_invalid")
    assert problem["errors"][0]["pointer"] == "/overlap_seconds"
    assert ApiKey.objects.count() == 1


def test_a_key_that_expires_is_replaced_for_as_long_again(api):
    old = api.post(KEYS, ASKED | {"expires_in_seconds": 3600}).json()

    path = f"{KEYS}/{old['id']}/rotate"
    new = api.post(path).json()

    row = ApiKey.objects.get(public_id=new["id"])
    assert row.expires_at - row.created_at == timedelta(hours=1)
    # The overlap of a day does not prolong the old one.
    assert api.get(f"{KEYS}/{old['id']}").json()["expires_at"] == old["expires_at"]


def test_a_rotated_key_is_rotated_again_only_if_its_replacement_is_revoked(api):
    old = api.post(KEYS, ASKED | {"expires_in_seconds": 3600}).json()
    path = f"{KEYS}/{old['id']}/rotate"
    lost = api.post(path, {"overlap_seconds": 60}).json()

    assert_problem(api.post(path), 409, "key_already_rotated")
    send_as(api.text, "DELETE", f"{KEYS}/{lost['id']}")
    new = api.post(path).json()

    assert opens(new["key"])
    row = ApiKey.objects.get(public_id=new["id"])
    assert row.expires_at - row.created_at == timedelta(hours=1)
    assert ApiKey.objects.get(public_id=old["id"]).replaced_by == row


def test_an_expiry_is_brought_forward_and_never_put_off(api):
    made = api.post(KEYS, ASKED).json()
    path = f"{KEYS}/{made['id']}"

    for seconds in (7200, 3600):
        answer = send_as(api.text, "PATCH", path, {"expires_in_seconds": seconds})
        assert answer.status_code == 200
    later = send_as(api.text, "PATCH", path, {"expires_in_seconds": 7200})

    assert_problem(later, 400, "field_invalid")
    row = ApiKey.objects.get(public_id=made["id"])
    assert nearly(row.expires_at, timezone.now() + timedelta(hours=1))
    assert_problem(
        send_as(api.text, "PATCH", path, {"expires_at": None}), 400, "field_invalid"
    )


def test_a_change_of_nothing_leaves_no_trace(api):
    path = f"{KEYS}/{api.key.public_id}"

    for body in ({}, {"name": "mine"}, {"name": "mine"}):
        assert send_as(api.text, "PATCH", path, body).status_code == 200

    assert [kind for kind, _, _ in audited()] == ["api_key.changed"]


def test_a_narrowed_key_is_refused_from_elsewhere_at_once(api):
    made = api.post(KEYS, ASKED).json()
    path = f"{KEYS}/{made['id']}"

    answer = send_as(api.text, "PATCH", path, {"allowed_ips": ["192.0.2.0/24"]})

    assert answer.json()["allowed_ips"] == ["192.0.2.0/24"]
    assert_problem(send_as(made["key"], "GET", "/v1/me"), 403, "address_not_allowed")


def test_a_repeated_request_gives_the_same_key_without_its_text(api):
    headers = {"Idempotency-Key": "once"}
    made = api.post(KEYS, ASKED, headers)
    again = api.post(KEYS, ASKED, headers)

    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Cache-Control"] == "no-store"
    assert again.status_code == 201
    assert again.json() == made.json() | {"key": None}
    assert ApiKey.objects.count() == 2
    assert_problem(
        api.post(KEYS, ASKED | {"name": "x"}, headers), 422, "idempotency_key_reused"
    )
    assert made.json()["key"][17:] not in str(list(IdempotencyKey.objects.values()))


def test_a_repeated_rotation_gives_the_same_key_without_its_text(api):
    made, headers = api.post(KEYS, ASKED).json(), {"Idempotency-Key": "once"}
    path = f"{KEYS}/{made['id']}/rotate"

    new, again = (api.post(path, {"overlap_seconds": 9}, headers) for _ in range(2))

    assert new.json()["key"]
    assert again.json() == new.json() | {"key": None}
    assert ApiKey.objects.count() == 3


def test_dead_keys_do_not_count_against_the_limit(api, settings):
    settings.API_KEYS_PER_TENANT = 3
    made = [api.post(KEYS, ASKED).json() for _ in range(2)]
    Api()

    problem = assert_problem(api.post(KEYS, ASKED), 409, "key_limit_reached")
    assert "3 active keys" in problem["detail"]
    rotate = f"{KEYS}/{made[0]['id']}/rotate"
    assert_problem(api.post(rotate), 409, "key_limit_reached")
    row = ApiKey.objects.get(public_id=made[0]["id"])
    assert (row.expires_at, row.replaced_by) == (None, None)
    assert api.post(rotate, {"overlap_seconds": 0}).status_code == 201
    send_as(api.text, "DELETE", f"{KEYS}/{made[1]['id']}")
    assert api.post(KEYS, ASKED).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_requests_at_once_do_not_pass_the_limit(settings):
    settings.API_KEYS_PER_TENANT = 5
    tenant = make_tenant()
    draft = keys.KeyDraft(name="x")

    def issue(_number):
        try:
            keys.issue_key(tenant=tenant, draft=draft, actor="t", now=timezone.now())
        except keys.Conflict:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        passed = list(pool.map(issue, range(16)))

    assert sum(passed) == ApiKey.objects.count() == Event.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_a_key_rotated_twice_at_once_has_one_replacement():
    key, _ = make_key()
    rotation = keys.KeyRotationRequest(overlap=DAY)

    def rotate(_number):
        try:
            keys.rotate_key(key=key, rotation=rotation, actor="t", now=timezone.now())
        except keys.Conflict as error:
            return error.code
        finally:
            connection.close()
        return "rotated"

    with ThreadPoolExecutor(4) as pool:
        results = sorted(pool.map(rotate, range(4)))

    assert results == ["key_already_rotated"] * 3 + ["rotated"]
    assert ApiKey.objects.count() == 2


def test_an_id_that_is_none_leads_nowhere(api):
    for bad in ("x", "Ab3dEf9h1", "%00", "Ab3dEf9%C3%A9", str(api.key.pk)):
        assert_problem(api.get(f"{KEYS}/{bad}"), 404, "not_found")
    assert_problem(api.get(f"{KEYS}/Ab3dEf9h"), 404, "not_found")
