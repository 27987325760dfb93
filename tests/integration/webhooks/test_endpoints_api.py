"""The endpoints API: what it takes, what it refuses, and what it never tells."""

import base64
import json
import logging
from datetime import timedelta

import pytest
from django.core import serializers as dump
from django.utils import timezone

from jobs.models import Event, IdempotencyKey
from tests.support.api import Api, assert_problem, send
from tests.support.factories import make_key
from tests.support.parallel import in_parallel
from workers.webhooks.delivery import fan_out
from workers.webhooks.messages import secrets
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)

ROOT = "/v1/webhook-endpoints"
URL = "https://example.com/hooks"
OWN_SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


@pytest.fixture
def api(db):
    return Api()


def create(api, **fields):
    answer = api.send("POST", ROOT, {"url": URL, **fields})
    assert answer.status_code == 201, answer.content
    return answer.json()


def one(endpoint):
    return f"{ROOT}/{endpoint['id']}"


def audited(api):
    """Return what was done, by whom: all that is recorded here names the key."""
    events = Event.objects.filter(tenant=api.tenant).order_by("id")
    assert all(event.fanned_out_at for event in events)
    assert {event.actor for event in events} <= {f"key:{api.key.public_id}"}
    return [event.type for event in events]


def assert_nothing_made():
    assert WebhookEndpoint.objects.count() == 0
    assert WebhookSecret.objects.count() == 0
    assert Event.objects.count() == 0
    assert IdempotencyKey.objects.count() == 0


# --- create --------------------------------------------------------------------


def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(api):
    answer = api.send("POST", ROOT, {"url": URL})

    made = answer.json()
    endpoint = WebhookEndpoint.objects.get()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{ROOT}/{endpoint.pk}"
    secret = made.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secrets.decrypt(WebhookSecret.objects.get().ciphertext) == secret
    assert made == {
        "id": str(endpoint.pk),
        "object": "webhook_endpoint",
        "url": URL,
        "description": None,
        "event_types": None,
        "payload": "full",
        "header_names": [],
        "max_concurrent": 10,
        "enabled": True,
        "disabled_reason": None,
        "disabled_at": None,
        "failures": 0,
        "failing_since": None,
        "held_reason": None,
        "held_until": None,
        "created_at": made["created_at"],
    }
    assert api.send("GET", one(made)).json() == made
    assert audited(api) == ["webhook_endpoint.created"]


def test_everything_said_is_kept_and_header_values_are_not_told(api):
    made = create(
        api,
        description="production",
        event_types=["job.failed", "batch.progress", "job.failed"],
        payload="thin",
        headers={"X-Team": "blue", "Authorization": "Bearer hidden"},
        max_concurrent=50,
        secret=OWN_SECRET,
    )

    endpoint = WebhookEndpoint.objects.get()
    assert made["secret"] == OWN_SECRET
    assert made["description"] == "production"
    assert made["event_types"] == ["job.failed", "batch.progress"]
    assert (made["payload"], made["max_concurrent"]) == ("thin", 50)
    assert made["header_names"] == ["Authorization", "X-Team"]
    assert "hidden" not in json.dumps([made, endpoint.headers])
    assert secrets.decrypt_headers(endpoint.headers) == {
        "X-Team": "blue",
        "Authorization": "Bearer hidden",
    }


BAD = {
    "no url": ({"url": None}, "field_invalid", "/url"),
    "url of another kind": ({"url": 5}, "field_invalid", "/url"),
    "empty url": ({"url": ""}, "field_invalid", "/url"),
    "too long a url": ({"url": URL + "/" + "x" * 8192}, "field_invalid", "/url"),
    "no https": ({"url": "http://example.com/"}, "url_not_allowed", "/url"),
    "loopback": ({"url": "https://127.1/"}, "url_not_allowed", "/url"),
    "metadata": ({"url": "https://169.254.169.254/"}, "url_not_allowed", "/url"),
    "a port": ({"url": "https://example.com:6379/"}, "url_not_allowed", "/url"),
    "userinfo": ({"url": "https://a@example.com/"}, "url_invalid", "/url"),
    "a space": ({"url": f"{URL} "}, "url_invalid", "/url"),
    "description": ({"description": "x" * 201}, "field_invalid", "/description"),
    "description as a number": ({"description": 1}, "field_invalid", "/description"),
    "description null": ({"description": None}, "field_invalid", "/description"),
    "an unknown type": (
        {"event_types": ["job.completed", "job.done"]},
        "field_invalid",
        "/event_types/1",
    ),
    "ping as a type": (
        {"event_types": ["webhook.ping"]},
        "field_invalid",
        "/event_types/0",
    ),
    "types as text": ({"event_types": "job.failed"}, "field_invalid", "/event_types"),
    "payload": ({"payload": "fat"}, "field_invalid", "/payload"),
    "payload as a boolean": ({"payload": True}, "field_invalid", "/payload"),
    "none at once": ({"max_concurrent": 0}, "field_invalid", "/max_concurrent"),
    "51 at once": ({"max_concurrent": 51}, "field_invalid", "/max_concurrent"),
    "text at once": ({"max_concurrent": "9"}, "field_invalid", "/max_concurrent"),
    "true at once": ({"max_concurrent": True}, "field_invalid", "/max_concurrent"),
    "headers as a list": ({"headers": []}, "field_invalid", "/headers"),
    "a banned header": (
        {"headers": {"Host": "x"}},
        "header_not_allowed",
        "/headers/Host",
    ),
    "a split header": (
        {"headers": {"X-A": "1\r\nHost: x"}},
        "header_invalid",
        "/headers/X-A",
    ),
    "eleven headers": (
        {"headers": {f"X-{n}": "1" for n in range(11)}},
        "header_invalid",
        "/headers",
    ),
    "a field there is not": ({"name": "x"}, "field_unknown", "/name"),
}
BAD_AT_CREATE = {
    "a short secret": ({"secret": "whsec_c2hvcnQ="}, "secret_invalid", "/secret"),
    "a secret as a number": ({"secret": 5}, "field_invalid", "/secret"),
    "headers null": ({"headers": None}, "field_invalid", "/headers"),
    "a null header": ({"headers": {"X-A": None}}, "header_invalid", "/headers/X-A"),
    "switched off": ({"enabled": False}, "field_unknown", "/enabled"),
}
BAD_AT_UPDATE = {
    "enabled as text": ({"enabled": "yes"}, "field_invalid", "/enabled"),
    "enabled as a number": ({"enabled": 1}, "field_invalid", "/enabled"),
    "enabled null": ({"enabled": None}, "field_invalid", "/enabled"),
    "a secret": ({"secret": OWN_SECRET}, "field_unknown", "/secret"),
}


@pytest.mark.parametrize("kind", BAD | BAD_AT_CREATE)
def test_a_bad_field_is_named_and_nothing_is_made(api, settings, kind):
    settings.EGRESS_ALLOW = []
    fields, code, pointer = (BAD | BAD_AT_CREATE)[kind]

    answer = api.send("POST", ROOT, {"url": URL, **fields}, **{"Idempotency-Key": "k"})

    problem = assert_problem(answer, 400, code)
    assert [each["pointer"] for each in problem["errors"]] == [pointer]
    assert_nothing_made()


def test_the_url_must_be_given(api):
    problem = assert_problem(api.send("POST", ROOT, {}), 400, "field_required")

    assert problem["errors"][0]["pointer"] == "/url"
    assert_nothing_made()


def test_hosts_that_the_operator_listed_may_be_plain_http(api, settings):
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]

    assert create(api, url="http://127.0.0.1:9999/hook")["enabled"]


def test_a_tenant_has_so_many_endpoints_and_others_are_not_counted(api, settings):
    settings.WEBHOOK_ENDPOINTS_MAX = 2
    create(Api())
    gone = create(api)
    create(api)
    problem = assert_problem(
        api.send("POST", ROOT, {"url": URL}), 409, "endpoint_limit_reached"
    )

    assert problem["detail"] == "A tenant has at most 2 endpoints."
    assert api.send("DELETE", one(gone)).status_code == 204
    create(api)


@pytest.mark.django_db(transaction=True)
def test_parallel_requests_at_the_limit_make_exactly_so_many(settings):
    settings.WEBHOOK_ENDPOINTS_MAX = 3
    api = Api()

    answers = in_parallel(8, lambda: api.send("POST", ROOT, {"url": URL}).status_code)

    assert sorted(answers) == [201] * 3 + [409] * 5
    assert WebhookEndpoint.objects.count() == WebhookSecret.objects.count() == 3


# --- once ----------------------------------------------------------------------

ONCE = {"Idempotency-Key": "once"}


def test_a_repeated_request_makes_nothing_and_is_not_told_the_secret(api):
    body = {"url": URL, "headers": {"X-A": "hidden"}}
    first = api.send("POST", ROOT, body, **ONCE)

    again = api.send("POST", ROOT, body, **ONCE)

    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.status_code == 201
    assert again.json() == {**first.json(), "secret": None}
    assert WebhookEndpoint.objects.count() == 1
    assert audited(api) == ["webhook_endpoint.created"]


def test_the_same_key_for_another_endpoint_is_refused(api):
    api.send("POST", ROOT, {"url": URL}, **ONCE)

    answer = api.send("POST", ROOT, {"url": URL, "payload": "thin"}, **ONCE)

    assert_problem(answer, 422, "idempotency_key_reused")
    assert WebhookEndpoint.objects.count() == 1


def test_a_key_of_one_endpoints_rotation_is_free_for_another(api):
    one_of_two, other = create(api), create(api)

    for endpoint in (one_of_two, other, one_of_two):
        answer = api.send("POST", f"{one(endpoint)}/rotate-secret", {}, **ONCE)
        assert answer.status_code == 200

    assert answer.headers["Idempotency-Replayed"] == "true"
    assert answer.json()["secret"] is None
    assert WebhookSecret.objects.filter(expires_at__isnull=False).count() == 2


# --- read ----------------------------------------------------------------------


def test_a_list_has_its_own_tenants_endpoints_newest_first_page_by_page(api):
    create(Api())
    made = [create(api, description=str(number)) for number in range(3)]
    api.send("DELETE", one(made[1]))
    for endpoint in made:
        endpoint.pop("secret")

    first = api.send("GET", f"{ROOT}?limit=1").json()
    rest = api.send("GET", f"{ROOT}?cursor={first['next_cursor']}").json()

    assert (first["data"], first["has_more"]) == ([made[2]], True)
    assert rest == {"data": [made[0]], "has_more": False, "next_cursor": None}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate-secret"),
        ("POST", "/ping"),
    ],
)
def test_another_tenants_endpoint_is_not_there(api, method, path):
    endpoint = create(api)
    before = dump.serialize("json", WebhookEndpoint.objects.all())
    events = Event.objects.count()

    answer = Api().send(method, one(endpoint) + path, {})

    assert_problem(answer, 404, "not_found")
    assert dump.serialize("json", WebhookEndpoint.objects.all()) == before
    assert Event.objects.count() == events
    assert WebhookSecret.objects.count() == 1
    assert WebhookDelivery.objects.count() == 0


def test_reading_needs_one_scope_and_writing_the_other(api):
    endpoint = create(api)
    _, reader = make_key(api.tenant, scopes=("webhooks:read",))
    _, writer = make_key(api.tenant, scopes=("webhooks:write",))

    for path in (ROOT, one(endpoint), "/v1/webhook-secret"):
        assert send(api.client, "GET", path, key=reader).status_code == 200
        assert_problem(send(api.client, "GET", path, key=writer), 403, "scope_missing")
    for method, path in [
        ("POST", ROOT),
        ("PATCH", one(endpoint)),
        ("DELETE", one(endpoint)),
        ("POST", f"{one(endpoint)}/ping"),
        ("POST", f"{one(endpoint)}/rotate-secret"),
        ("POST", "/v1/webhook-secret/rotate"),
    ]:
        answer = send(api.client, method, path, key=reader, body={})
        assert_problem(answer, 403, "scope_missing")
    assert audited(api) == ["webhook_endpoint.created"]


# --- change --------------------------------------------------------------------


def test_what_is_named_changes_and_the_rest_stays(api):
    endpoint = create(api, description="old", headers={"X-A": "1"}, payload="thin")
    endpoint.pop("secret")
    changes = {
        "url": "https://example.com/other",
        "max_concurrent": 1,
        "event_types": None,
    }

    answer = api.send("PATCH", one(endpoint), changes)

    assert answer.status_code == 200
    assert answer.json() == {**endpoint, **changes}
    assert api.send("GET", one(endpoint)).json() == answer.json()
    assert audited(api) == ["webhook_endpoint.created", "webhook_endpoint.updated"]
    recorded = Event.objects.get(type="webhook_endpoint.updated").data
    assert recorded == {
        "endpoint_id": endpoint["id"],
        "fields": ["max_concurrent", "url"],
    }


def test_a_change_that_changes_nothing_is_not_recorded(api):
    endpoint = create(api)

    for body in ({}, {"url": URL, "enabled": True, "payload": "full"}):
        assert api.send("PATCH", one(endpoint), body).status_code == 200

    assert audited(api) == ["webhook_endpoint.created"]


def test_headers_are_set_and_removed_one_by_one(api):
    endpoint = create(api, headers={"X-A": "1", "X-B": "2", "X-C": "3"})
    change = {"headers": {"x-a": "new", "X-B": None, "X-D": "4", "X-None": None}}

    changed = api.send("PATCH", one(endpoint), change).json()

    row = WebhookEndpoint.objects.get()
    assert changed["header_names"] == ["X-C", "X-D", "x-a"]
    assert secrets.decrypt_headers(row.headers) == {
        "X-C": "3",
        "x-a": "new",
        "X-D": "4",
    }
    emptied = api.send("PATCH", one(endpoint), {"headers": None}).json()
    assert emptied["header_names"] == []


@pytest.mark.parametrize(
    ("old", "new", "is_kept"),
    [
        (URL, "https://example.com/other?x=1", True),
        (URL, "https://EXAMPLE.com:443/hooks", True),
        (URL, "https://other.example.com/hooks", False),
        (URL, "https://example.com:8443/hooks", False),
        (URL, "https://example.org/hooks", False),
        ("http://10.0.0.9:80/hooks", "https://10.0.0.9:80/hooks", False),
    ],
)
def test_a_url_of_another_host_drops_the_headers(api, settings, old, new, is_kept):
    settings.EGRESS_ALLOW = ["10.0.0.9"]
    endpoint = create(api, url=old, headers={"Authorization": "Bearer hidden"})

    changed = api.send("PATCH", one(endpoint), {"url": new}).json()

    row = WebhookEndpoint.objects.get()
    assert changed["header_names"] == (["Authorization"] if is_kept else [])
    assert (row.url, bool(row.headers)) == (new, is_kept)


def test_headers_sent_with_the_url_of_another_host_are_the_only_ones(api):
    endpoint = create(api, headers={"X-Old": "1", "X-Both": "1"})
    new = {"url": "https://example.org/", "headers": {"X-Both": "2", "X-New": "3"}}

    changed = api.send("PATCH", one(endpoint), new).json()

    row = WebhookEndpoint.objects.get()
    assert changed["header_names"] == ["X-Both", "X-New"]
    assert secrets.decrypt_headers(row.headers) == {"X-Both": "2", "X-New": "3"}
    event = Event.objects.filter(type="webhook_endpoint.updated").get()
    assert event.data["fields"] == ["headers", "url"]


def test_an_eleventh_header_is_refused(api):
    endpoint = create(api, headers={f"X-{n}": "1" for n in range(10)})

    answer = api.send("PATCH", one(endpoint), {"headers": {"X-A": "1"}})

    assert_problem(answer, 400, "header_invalid")
    assert len(WebhookEndpoint.objects.get().headers) == 10
    swapped = api.send("PATCH", one(endpoint), {"headers": {"X-0": None, "X-A": "1"}})
    assert swapped.status_code == 200


@pytest.mark.parametrize("kind", BAD | BAD_AT_UPDATE)
def test_a_bad_change_changes_nothing(api, settings, kind):
    settings.EGRESS_ALLOW = []
    endpoint = create(api)
    before = dump.serialize("json", WebhookEndpoint.objects.all())
    fields, code, pointer = (BAD | BAD_AT_UPDATE)[kind]

    answer = api.send("PATCH", one(endpoint), {"max_concurrent": 7, **fields})

    problem = assert_problem(answer, 400, code)
    assert [each["pointer"] for each in problem["errors"]] == [pointer]
    assert dump.serialize("json", WebhookEndpoint.objects.all()) == before
    assert audited(api) == ["webhook_endpoint.created"]


@pytest.mark.parametrize(
    ("change", "failures"),
    [({"url": "https://example.org/"}, 0), ({"description": "x"}, 9)],
)
def test_a_new_url_begins_a_new_record(api, change, failures):
    endpoint = create(api)
    WebhookEndpoint.objects.update(failures=9, failing_since=timezone.now())

    changed = api.send("PATCH", one(endpoint), change).json()

    assert changed["failures"] == failures
    assert (changed["failing_since"] is None) == (failures == 0)


def test_switched_on_again_it_has_a_new_record(api):
    endpoint, now = create(api), timezone.now()
    WebhookEndpoint.objects.update(
        is_enabled=False,
        disabled_reason="failing",
        disabled_at=now,
        failures=12,
        failing_since=now,
    )
    off = api.send("PATCH", one(endpoint), {"enabled": False}).json()

    on = api.send("PATCH", one(endpoint), {"enabled": True}).json()

    assert (off["disabled_reason"], off["failures"]) == ("failing", 12)
    assert on["enabled"]
    assert (on["disabled_reason"], on["disabled_at"]) == (None, None)
    assert (on["failures"], on["failing_since"]) == (0, None)


def test_switched_off_by_its_tenant_it_has_no_reason(api):
    endpoint = create(api)

    off = api.send("PATCH", one(endpoint), {"enabled": False}).json()

    assert not off["enabled"]
    assert (off["disabled_reason"], off["disabled_at"]) == (None, None)
    assert Event.objects.last().data["fields"] == ["is_enabled"]


# --- delete --------------------------------------------------------------------


def test_a_deleted_endpoint_keeps_nothing_but_its_log(api):
    endpoint = create(api, headers={"X-A": "1"}, description="production")
    api.send("POST", f"{one(endpoint)}/ping", {})

    answer = api.send("DELETE", one(endpoint))

    assert (answer.status_code, answer.content) == (204, b"")
    row = WebhookEndpoint.objects.get()
    assert (row.url, row.description, row.headers) == ("", "", {})
    assert (row.is_enabled, row.deleted_at is not None) == (False, True)
    assert WebhookSecret.objects.count() == 0
    delivery = WebhookDelivery.objects.get()
    assert delivery.status == WebhookDelivery.Status.DISCARDED
    assert (delivery.next_attempt_at, delivery.body) == (None, None)
    assert audited(api)[-1] == "webhook_endpoint.deleted"
    for method, path in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/ping"),
        ("POST", "/rotate-secret"),
    ]:
        assert_problem(api.send(method, one(endpoint) + path, {}), 404, "not_found")


# --- rotate --------------------------------------------------------------------

ROTATIONS = ["endpoint", "tenant"]


@pytest.fixture(params=ROTATIONS)
def rotation(request, api):
    """The path of a rotation, and the secrets it rotates."""
    if request.param == "tenant":
        secrets.get_or_create_tenant_secret(api.tenant)
        rows = WebhookSecret.objects.filter(endpoint__isnull=True)
        return "/v1/webhook-secret/rotate", rows
    endpoint = create(api)
    rows = WebhookSecret.objects.filter(endpoint=endpoint["id"])
    return f"{one(endpoint)}/rotate-secret", rows


def test_a_rotation_shows_the_new_secret_and_gives_the_old_a_day(api, rotation):
    path, rows = rotation
    (old,) = rows
    secrets.get_or_create_tenant_secret(api.tenant)

    answer = api.send("POST", path, {})

    shown = answer.json()
    current = rows.get(expires_at__isnull=True)
    old.refresh_from_db()
    assert answer.status_code == 200
    assert shown["object"] == "webhook_secret"
    assert shown["endpoint_id"] == (current.endpoint_id and str(current.endpoint_id))
    assert secrets.decrypt(current.ciphertext) == shown["secret"]
    assert old.expires_at - current.created_at == timedelta(days=1)
    assert shown["previous_expires_at"] == old.expires_at.isoformat().replace(
        "+00:00", "Z"
    )
    assert audited(api)[-1].endswith(
        "secret_rotated" if current.endpoint_id else "ret.rotated"
    )


def test_no_grace_ends_every_older_secret_at_once(api, rotation):
    path, rows = rotation
    api.send("POST", path, {"grace_seconds": 604800})

    api.send("POST", path, {"grace_seconds": 0, "secret": OWN_SECRET})

    assert [secrets.decrypt(row.ciphertext) for row in rows] == [OWN_SECRET]


def test_an_eleventh_older_secret_is_refused_until_one_has_expired(api, rotation):
    path, rows = rotation
    for _ in range(10):
        assert api.send("POST", path, {"grace_seconds": 60}).status_code == 200

    answer = api.send("POST", path, {"grace_seconds": 60})

    assert_problem(answer, 409, "secret_limit_reached")
    assert rows.count() == 11
    oldest = rows.order_by("id").first()
    rows.filter(pk=oldest.pk).update(expires_at=timezone.now())
    assert api.send("POST", path, {"grace_seconds": 60}).status_code == 200
    assert not rows.filter(pk=oldest.pk).exists()
    assert rows.count() == 11


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"grace_seconds": -1}, "field_invalid", "/grace_seconds"),
        ({"grace_seconds": 604801}, "field_invalid", "/grace_seconds"),
        ({"grace_seconds": "60"}, "field_invalid", "/grace_seconds"),
        ({"grace_seconds": None}, "field_invalid", "/grace_seconds"),
        ({"grace_seconds": 1.5}, "field_invalid", "/grace_seconds"),
        ({"secret": "whsec_"}, "secret_invalid", "/secret"),
        ({"secret": None}, "field_invalid", "/secret"),
        ({"grace": 1}, "field_unknown", "/grace"),
    ],
)
def test_a_bad_rotation_leaves_the_secret(api, rotation, body, code, pointer):
    path, rows = rotation
    before = [(row.pk, row.expires_at) for row in rows]

    problem = assert_problem(api.send("POST", path, body), 400, code)

    assert problem["errors"][0]["pointer"] == pointer
    assert [(row.pk, row.expires_at) for row in rows] == before


def test_a_secret_that_signs_already_is_no_rotation(api, rotation):
    path, rows = rotation
    api.send("POST", path, {"secret": OWN_SECRET})

    for body in ({"secret": OWN_SECRET}, {"secret": OWN_SECRET, "grace_seconds": 0}):
        assert_problem(api.send("POST", path, body), 400, "secret_reused")

    assert rows.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("whose", ROTATIONS)
def test_rotations_at_once_leave_one_current_secret(whose):
    api = Api()
    path, there = "/v1/webhook-secret/rotate", 0
    if whose == "endpoint":
        path, there = f"{one(create(api))}/rotate-secret", 1

    answers = in_parallel(6, lambda: api.send("POST", path, {}).json()["secret"])

    assert len(set(answers)) == 6
    assert WebhookSecret.objects.count() == 6 + there
    current = WebhookSecret.objects.get(expires_at__isnull=True)
    assert secrets.decrypt(current.ciphertext) in answers


@pytest.mark.django_db(transaction=True)
def test_a_first_rotation_and_a_first_delivery_at_once_make_no_two_current_ones():
    api = Api()
    works = [
        lambda: api.send("POST", "/v1/webhook-secret/rotate", {}).status_code,
        lambda: bool(secrets.get_or_create_tenant_secret(api.tenant)),
    ] * 3

    def take_one():
        return works.pop()()

    answers = in_parallel(6, take_one)

    assert sorted(answers) == [True] * 3 + [200] * 3
    assert WebhookSecret.objects.filter(expires_at__isnull=True).count() == 1


def test_the_tenants_secret_is_told_of_and_not_told(api):
    assert api.send("GET", "/v1/webhook-secret").json()["live"] == []
    secret = api.send("POST", "/v1/webhook-secret/rotate", {}).json()["secret"]
    api.send("POST", "/v1/webhook-secret/rotate", {})

    shown = api.send("GET", "/v1/webhook-secret")

    assert secret.encode() not in shown.content
    new, old = shown.json()["live"]
    assert set(new) == set(old) == {"created_at", "expires_at"}
    assert new["expires_at"] is None
    assert old["expires_at"] is not None


# --- ping ----------------------------------------------------------------------


def test_a_ping_goes_to_the_one_endpoint_whatever_it_wants(api):
    create(api)
    endpoint = create(api, event_types=["job.failed"])

    answer = api.send("POST", f"{one(endpoint)}/ping", {})

    delivery = WebhookDelivery.objects.get()
    assert answer.status_code == 202
    assert answer.json() == {
        "delivery_id": str(delivery.pk),
        "message_id": f"msg_{delivery.event_id.hex}",
        "endpoint_id": endpoint["id"],
    }
    assert str(delivery.endpoint_id) == endpoint["id"]
    assert delivery.event.type == "webhook.ping"
    assert fan_out.fan_out(limit=10, now=timezone.now()) == 0
    assert audited(api)[-1] == "webhook.ping"


def test_an_endpoint_shows_until_when_and_why_its_deliveries_are_held(api):
    endpoint = create(api)
    until = timezone.now() + timedelta(minutes=4)
    WebhookEndpoint.objects.update(trial_wait_seconds=240, trial_at=until)

    shown = api.send("GET", one(endpoint)).json()

    assert shown["held_reason"] == "failing"
    assert shown["held_until"] == until.isoformat().replace("+00:00", "Z")


def test_a_ping_sent_twice_under_one_key_is_one(api):
    endpoint = create(api)

    first, again = (
        api.send("POST", f"{one(endpoint)}/ping", {}, **ONCE) for _ in range(2)
    )

    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert WebhookDelivery.objects.count() == 1


def test_an_endpoint_that_is_off_cannot_be_pinged(api):
    endpoint = create(api)
    api.send("PATCH", one(endpoint), {"enabled": False})

    answer = api.send("POST", f"{one(endpoint)}/ping", {}, **ONCE)

    assert_problem(answer, 409, "endpoint_disabled")
    assert WebhookDelivery.objects.count() == 0
    assert not Event.objects.filter(type="webhook.ping").exists()
    assert not IdempotencyKey.objects.exists()


# --- nothing leaks -------------------------------------------------------------


def test_no_secret_is_anywhere_but_in_the_answer_that_made_it(world, listen, caplog):
    caplog.set_level(logging.DEBUG)
    receiver = listen()
    api = Api(world.tenant)
    made = create(
        api, url=f"{receiver.url}?sig=in-the-query", headers={"X-Key": "in-a-header"}
    )
    repeated = {"url": receiver.url, "headers": {"X-Key": "in-a-header"}}
    shown = [made["secret"]]
    for path, body in [
        (ROOT, repeated | {"secret": OWN_SECRET}),
        (f"{one(made)}/rotate-secret", {}),
        ("/v1/webhook-secret/rotate", {}),
        (f"{one(made)}/ping", {}),
    ]:
        answer = api.send("POST", path, body, **{"Idempotency-Key": path})
        shown.append(answer.json().get("secret"))
        api.send("POST", path, body, **{"Idempotency-Key": path})
    world.now = timezone.now()

    assert world.run() == 1

    hidden = {*filter(None, shown), "in-a-header"}
    assert len(hidden) == 5
    tables = [
        IdempotencyKey,
        Event,
        WebhookEndpoint,
        WebhookSecret,
        WebhookDelivery,
        DeliveryAttempt,
    ]
    kept = "".join(dump.serialize("json", model.objects.all()) for model in tables)
    for row in WebhookSecret.objects.all():
        kept += bytes(row.ciphertext).decode()
    read = "".join(
        api.send("GET", path).content.decode()
        for path in (ROOT, one(made), "/v1/webhook-secret")
    )
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "webhook attempt" in logged
    for text in hidden:
        assert text not in kept
        assert text not in read
        assert text not in logged
    assert "in-the-query" not in logged
    assert receiver.received[0].headers["x-key"] == "in-a-header"
