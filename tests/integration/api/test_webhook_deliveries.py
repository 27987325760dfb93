"""Deliveries over HTTP: lists, logs, sending again, and what nobody else sees."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from jobs.models import Event
from tests.support.api import Api, assert_problem, send
from tests.support.factories import make_key, make_tenant
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)

AT = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def make_endpoint(api: Api, **fields) -> WebhookEndpoint:
    fields = {"tenant": api.tenant, "url": "https://hooks.example/"} | fields
    return WebhookEndpoint.objects.create(**fields)


def make_delivery(api: Api, *, kind: str = "job.completed", **fields):
    event = Event.objects.create(
        tenant=api.tenant, type=kind, created_at=AT, fanned_out_at=AT
    )
    if "url" not in fields:
        fields.setdefault("endpoint", make_endpoint(api))
    fields = {
        "tenant": api.tenant,
        "event": event,
        "target": "t",
        "status": "delivered",
        "attempts": 1,
        "body": b"{}",
        "created_at": AT,
        "finished_at": AT,
    } | fields
    return WebhookDelivery.objects.create(**fields)


def log(delivery: WebhookDelivery, token: int, **fields) -> DeliveryAttempt:
    fields = {"started_at": AT, "duration_ms": 12} | fields
    return DeliveryAttempt.objects.create(
        delivery=delivery, claim_token=token, **fields
    )


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["id"] for each in answer.json()["data"]]


def test_a_delivery_is_shown(api):
    delivery = make_delivery(api)

    answer = api.get(f"/v1/webhook-deliveries/{delivery.pk}")

    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(delivery.pk),
        "object": "webhook_delivery",
        "message_id": f"msg_{delivery.event_id.hex}",
        "type": "job.completed",
        "endpoint_id": str(delivery.endpoint_id),
        "url": None,
        "job_id": None,
        "status": "delivered",
        "attempts": 1,
        "next_attempt_at": None,
        "is_held": False,
        "is_redelivering": False,
        "created_at": "2026-11-22T12:00:00Z",
        "finished_at": "2026-11-22T12:00:00Z",
    }


def test_the_secret_part_of_a_callback_is_not_shown(api):
    delivery = make_delivery(api, url="https://call.example/back?token=secret")

    shown = api.get(f"/v1/webhook-deliveries/{delivery.pk}")

    assert shown.json()["url"] == "https://call.example/back"
    assert b"secret" not in shown.content


def test_a_pending_one_tells_when_it_is_tried_again(api):
    at = AT + timedelta(minutes=5)
    pending = {"status": "pending", "finished_at": None, "next_attempt_at": at}
    waiting = make_delivery(api, **pending)
    claimed = make_delivery(api, **pending, is_claimed=True)
    manual = make_delivery(
        api, **pending, trigger="manual", scheduled_at=at + timedelta(hours=1)
    )

    shown = {
        row["id"]: (row["next_attempt_at"], row["is_redelivering"])
        for row in api.get("/v1/webhook-deliveries").json()["data"]
    }

    assert shown == {
        str(waiting.pk): ("2026-11-22T12:05:00Z", False),
        str(claimed.pk): (None, False),
        str(manual.pk): ("2026-11-22T13:05:00Z", True),
    }


def test_the_list_is_narrowed_by_each_of_its_filters(api):
    plain = make_delivery(api)
    failed = make_delivery(api, status="failed", kind="job.failed")
    late = make_delivery(api, created_at=AT + timedelta(hours=2))
    path = "/v1/webhook-deliveries?"

    assert ids(api.get(path + "status=failed")) == [str(failed.pk)]
    assert ids(api.get(path + "type=job.failed")) == [str(failed.pk)]
    assert ids(api.get(path + f"endpoint_id={plain.endpoint_id}")) == [str(plain.pk)]
    assert ids(api.get(path + f"job_id={uuid4()}")) == []
    assert ids(api.get(path + "created_after=2026-11-22T13:00:00Z")) == [str(late.pk)]
    assert ids(api.get(path + "created_before=2026-11-22T13:00:00Z")) == [
        str(failed.pk),
        str(plain.pk),
    ]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("status=sent", "status"),
        ("type=%00", "type"),
        ("endpoint_id=1", "endpoint_id"),
        ("job_id=x", "job_id"),
        ("created_after=yesterday", "created_after"),
        ("created_before=2026-11-22", "created_before"),
        ("limit=0", "limit"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(api, query, parameter):
    problem = assert_problem(
        api.get(f"/v1/webhook-deliveries?{query}"), 400, "parameter_invalid"
    )

    assert problem["errors"][0]["parameter"] == parameter


def test_pages_follow_each_other_and_bytes_stay_in_the_database(
    api, django_assert_max_num_queries
):
    made = [make_delivery(api, body=b"secret") for _ in range(5)]
    newest_first = [str(each.pk) for each in reversed(made)]
    found, query = [], "limit=2"
    while query:
        with django_assert_max_num_queries(4) as captured:
            page = api.get(f"/v1/webhook-deliveries?{query}").json()
        assert not any('"body"' in each["sql"] for each in captured)
        found += [each["id"] for each in page["data"]]
        cursor = page["next_cursor"]
        query = f"limit=2&cursor={cursor}" if cursor else ""

    assert found == newest_first


def test_the_log_tells_every_attempt(api):
    delivery = make_delivery(api, attempts=3)
    log(delivery, 1, status_code=500, response_excerpt="oops")
    log(delivery, 3, error="timeout", duration_ms=15000, trigger="trial")
    log(delivery, 4, status_code=200, trigger="manual")

    answer = api.get(f"/v1/webhook-deliveries/{delivery.pk}/attempts")

    at = {"started_at": "2026-11-22T12:00:00Z"}
    assert answer.json() == {
        "data": [
            {
                "n": 1,
                "trigger": "scheduled",
                **at,
                "duration_ms": 12,
                "status_code": 500,
                "error": None,
                "response_excerpt": "oops",
            },
            {
                "n": 2,
                "trigger": "trial",
                **at,
                "duration_ms": 15000,
                "status_code": None,
                "error": "timeout",
                "response_excerpt": None,
            },
            {
                "n": 3,
                "trigger": "manual",
                **at,
                "duration_ms": 12,
                "status_code": 200,
                "error": None,
                "response_excerpt": None,
            },
        ]
    }


def test_of_a_refused_address_neither_place_nor_time_is_told(api):
    delivery = make_delivery(api)
    log(delivery, 1, error="destination_not_allowed", duration_ms=0)

    (attempt,) = api.get(f"/v1/webhook-deliveries/{delivery.pk}/attempts").json()[
        "data"
    ]

    assert (attempt["error"], attempt["duration_ms"]) == (
        "destination_not_allowed",
        None,
    )


def test_redeliver_is_accepted_and_says_where_to_look(api):
    delivery = make_delivery(api)
    path = f"/v1/webhook-deliveries/{delivery.pk}"

    answer = api.post(f"{path}/redeliver")

    assert answer.status_code == 202
    assert answer.headers["Location"] == path
    assert answer.json()["is_redelivering"] is True
    assert answer.json()["status"] == "delivered"
    event = Event.objects.get(type="webhook_delivery.redelivered")
    assert event.actor == f"key:{api.key.public_id}"


def test_redeliver_refuses_with_codes_to_act_on(api):
    off = make_endpoint(api, is_enabled=False)
    gone = make_delivery(api, body=None)
    busy = make_delivery(
        api,
        status="pending",
        finished_at=None,
        next_attempt_at=timezone.now() + timedelta(seconds=30),
        is_claimed=True,
    )
    switched_off = make_delivery(api, endpoint=off)

    for delivery, status, code in [
        (gone, 410, "payload_gone"),
        (busy, 409, "delivery_in_progress"),
        (switched_off, 409, "endpoint_disabled"),
    ]:
        path = f"/v1/webhook-deliveries/{delivery.pk}/redeliver"
        assert_problem(api.post(path), status, code)

    assert not WebhookDelivery.objects.filter(trigger="manual").exists()
    assert not Event.objects.filter(type="webhook_delivery.redelivered").exists()


def test_recover_says_how_many_and_how_far_it_is(api):
    endpoint = make_endpoint(api)
    now = timezone.now()
    failed = {"endpoint": endpoint, "created_at": now, "status": "failed"}
    one, _two = make_delivery(api, **failed), make_delivery(api, **failed)
    make_delivery(api, endpoint=endpoint, created_at=now)
    since = (now - timedelta(hours=1)).isoformat()

    answer = api.post(
        f"/v1/webhook-endpoints/{endpoint.pk}/recover", body={"since": since}
    )

    assert answer.status_code == 202, answer.content
    told = answer.json()
    assert (told["deliveries"], told["has_more"]) == (2, False)
    counts = {"pending": 2, "delivered": 0, "failed": 0, "discarded": 0}
    assert told["counts"] == counts
    place = answer.headers["Location"]
    assert place == f"/v1/webhook-endpoints/{endpoint.pk}/recoveries/{told['id']}"
    WebhookDelivery.objects.filter(pk=one.pk).update(
        status="delivered", finished_at=now, next_attempt_at=None
    )
    assert api.get(place).json() == told | {
        "counts": counts | {"pending": 1, "delivered": 1}
    }


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "field_required", "/since"),
        ({"since": "soon"}, "field_invalid", "/since"),
        ({"since": "2020-01-01T00:00:00Z"}, "since_too_old", "/since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "field_invalid", "/since"),
        ({"since": "2999-01-01T00:00:00Z"}, "field_invalid", "/since"),
        ({"since": "2026-11-22T12:00:00Z", "to": 1}, "field_unknown", "/to"),
    ],
)
def test_recover_refuses_what_makes_no_sense(api, body, code, pointer):
    endpoint = make_endpoint(api)

    path = f"/v1/webhook-endpoints/{endpoint.pk}/recover"
    problem = assert_problem(api.post(path, body=body), 400, code)

    assert problem["errors"][0]["pointer"] == pointer
    assert not WebhookRecovery.objects.exists()


def test_an_answer_is_expunged(api):
    delivery = make_delivery(api)
    log(delivery, 7, status_code=200, response_excerpt="private")
    path = f"/v1/webhook-deliveries/{delivery.pk}/attempts"

    answers = [api.delete(f"{path}/{n}/response-body") for n in (1, 1)]

    assert [each.status_code for each in answers] == [204, 204]
    (attempt,) = api.get(path).json()["data"]
    assert (attempt["status_code"], attempt["response_excerpt"]) == (200, None)
    assert_problem(api.delete(f"{path}/2/response-body"), 404, "not_found")
    assert_problem(api.delete(f"{path}/{10**30}/response-body"), 404, "not_found")


def test_nobody_else_sees_or_moves_any_of_it(api):
    delivery = make_delivery(api)
    attempt = log(delivery, 1, response_excerpt="mine")
    recovery = WebhookRecovery.objects.create(
        endpoint=delivery.endpoint, since=AT, until=AT, created_at=AT
    )
    other = Api()
    mine, endpoint = delivery.pk, delivery.endpoint_id
    body = {"since": timezone.now().isoformat()}

    assert ids(other.get("/v1/webhook-deliveries")) == []
    assert ids(other.get(f"/v1/webhook-deliveries?endpoint_id={endpoint}")) == []
    for method, path in [
        ("GET", f"/v1/webhook-deliveries/{mine}"),
        ("GET", f"/v1/webhook-deliveries/{mine}/attempts"),
        ("POST", f"/v1/webhook-deliveries/{mine}/redeliver"),
        ("DELETE", f"/v1/webhook-deliveries/{mine}/attempts/1/response-body"),
        ("POST", f"/v1/webhook-endpoints/{endpoint}/recover"),
        ("GET", f"/v1/webhook-endpoints/{endpoint}/recoveries/{recovery.pk}"),
    ]:
        given = body if path.endswith("recover") else b""
        answer = send(other.client, method, path, key=other.text, body=given)
        assert_problem(answer, 404, "not_found")
    attempt.refresh_from_db()
    delivery.refresh_from_db()
    assert (attempt.response_excerpt, delivery.trigger) == ("mine", "scheduled")


def test_reading_is_not_leave_to_send(api):
    delivery = make_delivery(api)
    _key, text = make_key(api.tenant, scopes=("webhooks:read",))
    path = f"/v1/webhook-deliveries/{delivery.pk}"

    assert send(api.client, "GET", path, key=text).status_code == 200
    refused = send(api.client, "POST", f"{path}/redeliver", key=text)

    assert_problem(refused, 403, "scope_missing")
    assert json.loads(refused.content)["status"] == 403
    assert not WebhookDelivery.objects.filter(trigger="manual").exists()


def test_a_deleted_endpoint_cannot_be_recovered(api):
    gone = make_endpoint(api, is_enabled=False, url="", deleted_at=AT)
    body = {"since": timezone.now().isoformat()}

    answer = api.post(f"/v1/webhook-endpoints/{gone.pk}/recover", body=body)

    assert_problem(answer, 404, "not_found")
    assert make_tenant().webhookendpoint_set.count() == 0
