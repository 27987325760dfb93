"""Sent again by hand: one delivery, or all an endpoint missed; and what is forgotten."""

from datetime import timedelta

import pytest
from django.db import connection

from jobs.errors import Conflict, Erased, InvalidRequest, NotFound
from jobs.models import Event, Tenant
from jobs.retention import erasure
from tests.support.parallel import in_parallel
from tests.support.webhook_receiver import Reply
from tests.support.webhooks import (
    START,
    World,
    answering,
    make_due,
    open_circuit,
    outcomes,
)
from workers.webhooks.delivery import endpoint_health, replay, services
from workers.webhooks.delivery.replay import ReplayRange
from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.messages import secrets, signing
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)

Status = WebhookDelivery.Status
DAY = timedelta(days=1)


def redeliver(world: World, delivery: WebhookDelivery) -> WebhookDelivery:
    return replay.redeliver(
        tenant=world.tenant, actor="key:k", delivery_id=delivery.pk, now=world.now
    )


def recover(world: World, endpoint: WebhookEndpoint, **span) -> WebhookRecovery:
    span = {"since": START - DAY, "until": START + DAY} | span
    return replay.recover(
        tenant=world.tenant,
        actor="key:k",
        endpoint_id=endpoint.pk,
        span=ReplayRange(**span),
        now=world.now,
    )


def state(delivery: WebhookDelivery) -> tuple:
    delivery.refresh_from_db()
    return delivery.status, delivery.attempts, delivery.step, delivery.next_attempt_at


def triggers(delivery: WebhookDelivery) -> list[str]:
    log = delivery.log.order_by("claim_token")
    return list(log.values_list("trigger", flat=True))


def recorded(kind: str) -> list[dict]:
    rows = Event.objects.filter(type=kind).order_by("pk")
    assert all(each.actor == "key:k" for each in rows)
    return list(rows.values_list("data", flat=True))


# --- one ----------------------------------------------------------------------------


def test_a_delivered_message_is_sent_again_as_it_was_but_for_time_and_signature(
    world, listen
):
    receiver = listen()
    delivery = world.delivery(receiver.url, text="Grüße 🎧")
    world.run()
    delivery.job.transcript.text = "something else"
    delivery.job.transcript.save()
    world.pass_time(3600)

    asked = redeliver(world, delivery)

    assert (asked.status, asked.trigger) == (Status.DELIVERED, "manual")
    assert world.run() == 1
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    stamps = [int(each.headers["webhook-timestamp"]) for each in receiver.received]
    assert stamps[1] - stamps[0] == 3600
    signing.verify(
        headers=second.headers,
        body=second.body,
        secret=secrets.get_or_create_tenant_secret(world.tenant),
        now=world.now,
    )
    assert state(delivery) == (Status.DELIVERED, 2, 0, None)
    assert delivery.finished_at == START
    assert triggers(delivery) == ["scheduled", "manual"]
    assert recorded("webhook_delivery.redelivered") == [
        {"delivery_id": str(delivery.pk)}
    ]
    assert world.run() == 0


def test_a_redelivery_that_fails_leaves_a_delivered_message_delivered(world, listen):
    receiver = listen(Reply(), Reply(status=500))
    delivery = world.delivery(receiver.url)
    world.run()
    redeliver(world, delivery)

    world.run()

    assert state(delivery) == (Status.DELIVERED, 2, 0, None)
    assert outcomes(delivery) == [200, 500]
    assert WebhookEndpoint.objects.get().failures == 1


@pytest.mark.parametrize("status", [Status.FAILED, Status.DISCARDED])
def test_a_message_that_was_given_up_arrives_by_hand(world, listen, status):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    WebhookDelivery.objects.update(
        status=status, finished_at=START, next_attempt_at=None
    )
    world.pass_time(60)
    redeliver(world, delivery)

    world.run()

    assert state(delivery) == (Status.DELIVERED, 1, 0, None)
    assert delivery.finished_at == world.now


def test_a_failed_message_stays_failed_when_the_manual_attempt_fails(world, listen):
    receiver = listen(Reply(status=500))
    delivery = world.delivery(receiver.url)
    WebhookDelivery.objects.update(
        status=Status.FAILED, finished_at=START, next_attempt_at=None, step=9
    )
    redeliver(world, delivery)

    world.run()

    assert state(delivery) == (Status.FAILED, 1, 9, None)


def test_a_manual_attempt_does_not_change_the_schedule(world, listen):
    receiver = listen(Reply(status=500))
    delivery = world.delivery(receiver.url)
    world.run()
    world.pass_time(5)
    world.run()
    due_at = START + timedelta(seconds=5 + 300)
    assert state(delivery) == (Status.PENDING, 2, 2, due_at)

    world.pass_time(10)
    redeliver(world, delivery)
    world.run()

    assert state(delivery) == (Status.PENDING, 3, 2, due_at)
    world.now = due_at
    assert world.run() == 1
    assert state(delivery) == (
        Status.PENDING,
        4,
        3,
        due_at + timedelta(seconds=1800),
    )
    assert triggers(delivery) == ["scheduled", "scheduled", "manual", "scheduled"]


def test_a_manual_success_ends_the_schedule(world, listen):
    receiver = listen(Reply(status=500), Reply())
    delivery = world.delivery(receiver.url)
    world.run()
    redeliver(world, delivery)
    world.run()
    world.pass_time(10**6)

    assert world.run() == 0
    assert state(delivery) == (Status.DELIVERED, 2, 1, None)


def test_asked_twice_before_it_is_made_it_is_one(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    world.run()

    redeliver(world, delivery)
    redeliver(world, delivery)

    assert world.run() == 1
    assert world.run() == 0
    assert len(receiver.received) == 2
    assert len(recorded("webhook_delivery.redelivered")) == 1


def test_a_manual_attempt_passes_an_open_circuit_and_its_success_closes_it(world):
    endpoint = open_circuit(world, number=3)
    world.claim()
    delivery = WebhookDelivery.objects.order_by("pk")[1]
    redeliver(world, delivery)

    (claim,) = world.claim()
    world.attempt(claim, post=answering(200))

    assert claim.delivery_id == delivery.pk
    assert len(world.claim()) == 2
    endpoint.refresh_from_db()
    assert endpoint.trial_wait_seconds == 0


def test_a_manual_attempt_whose_worker_died_is_made_nevertheless(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    world.run()
    redeliver(world, delivery)
    world.claim()
    world.pass_time(services.claim_time().total_seconds())

    assert world.run() == 1
    assert triggers(delivery) == ["scheduled", "manual"]


def test_while_an_attempt_is_made_none_can_be_asked_for(world):
    delivery = world.delivery("https://hooks.example/")
    world.claim()

    with pytest.raises(Conflict) as refusal:
        redeliver(world, delivery)

    assert refusal.value.code == "delivery_in_progress"
    delivery.refresh_from_db()
    assert (delivery.trigger, delivery.is_claimed) == ("scheduled", True)
    assert recorded("webhook_delivery.redelivered") == []


def test_nothing_is_sent_again_to_an_endpoint_that_is_switched_off(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    world.run()
    endpoint_health.disable_endpoint(delivery.endpoint, reason="gone", now=world.now)

    with pytest.raises(Conflict) as refusal:
        redeliver(world, delivery)

    assert refusal.value.code == "endpoint_disabled"
    assert world.run() == 0


def test_switched_off_after_it_was_asked_for_it_is_not_sent(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    world.run()
    redeliver(world, delivery)
    endpoint_health.disable_endpoint(delivery.endpoint, reason="gone", now=world.now)

    world.run()

    assert len(receiver.received) == 1
    assert state(delivery) == (Status.DELIVERED, 1, 0, None)


@pytest.mark.parametrize("how", ["from before", "job erased", "erased before it"])
def test_bytes_that_are_gone_cannot_be_sent_again(world, listen, how):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    if how == "erased before it":
        endpoint_health.disable_endpoint(delivery.endpoint, reason="gone", now=START)
    world.run()
    WebhookEndpoint.objects.update(
        is_enabled=True, disabled_reason="", disabled_at=None
    )
    if how == "from before":
        WebhookDelivery.objects.update(body=None)
    else:
        erasure.erase_job(job=delivery.job, actor="me", now=START)

    with pytest.raises(Erased) as refusal:
        redeliver(world, delivery)

    assert refusal.value.code == "payload_gone"
    assert world.run() == 0


def test_a_foreign_delivery_is_not_there(world):
    delivery = world.delivery("https://hooks.example/")
    world.tenant = Tenant.objects.create(name="other")

    with pytest.raises(NotFound):
        redeliver(world, delivery)


# --- many ---------------------------------------------------------------------------


def finish(endpoint: WebhookEndpoint, status: str, **fields) -> None:
    fields = {"attempts": 10, "step": 9, "body": b"{}"} | fields
    WebhookDelivery.objects.filter(endpoint=endpoint).update(
        status=status, finished_at=START, next_attempt_at=None, **fields
    )


def test_what_was_not_taken_is_sent_again_on_a_new_schedule(world, listen):
    receiver = listen()
    endpoint = make_due(world, 6, url=receiver.url)
    finish(endpoint, Status.FAILED)
    ids = list(WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True))
    rows = WebhookDelivery.objects.filter
    rows(pk=ids[0]).update(status=Status.DELIVERED)
    rows(pk=ids[1]).update(status=Status.DISCARDED, attempts=0, body=None)
    rows(pk=ids[2]).update(created_at=START - 2 * DAY)
    rows(pk=ids[3]).update(body=None)  # from before bytes were kept
    make_due(world, 1)  # another endpoint's
    world.pass_time(60)

    recovery = recover(world, endpoint)

    assert (recovery.number, recovery.has_more) == (3, False)
    assert set(rows(recovery=recovery).values_list("status", "step", "attempts")) == {
        (Status.PENDING, 0, 0),
        (Status.PENDING, 0, 10),
    }
    assert replay.count_recovered(recovery)["pending"] == 3
    rows().exclude(endpoint=endpoint).delete()
    assert world.run() == 3
    assert len(receiver.received) == 3
    assert replay.count_recovered(recovery) == {
        "pending": 0,
        "delivered": 3,
        "failed": 0,
        "discarded": 0,
    }
    assert recorded("webhook_endpoint.recovered") == [
        {
            "endpoint_id": str(endpoint.pk),
            "recovery_id": str(recovery.pk),
            "deliveries": 3,
        }
    ]


def test_a_recovered_message_has_all_ten_attempts_before_it(world):
    endpoint = make_due(world, 1)
    finish(endpoint, Status.FAILED)
    recover(world, endpoint)
    made = 0
    while claims := world.claim():
        made += len(claims)
        world.attempt(claims[0], post=answering(500))
        WebhookEndpoint.objects.update(
            failures=0, failing_since=None, trial_wait_seconds=0, trial_at=None
        )
        world.pass_time(10**5)

    assert made == 10
    assert WebhookDelivery.objects.get().status == Status.FAILED
    assert WebhookDelivery.objects.get().attempts == 20


def test_what_waits_for_another_attempt_is_sent_at_once(world):
    endpoint = make_due(world, 2)
    first, _second = world.claim()
    world.attempt(first, post=answering(500))

    recovery = recover(world, endpoint)

    assert recovery.number == 1  # the other is on its way
    (claim,) = world.claim()
    assert claim.delivery_id == first.delivery_id


def test_an_open_circuit_is_tried_at_once(world):
    endpoint = open_circuit(world, number=3)
    world.claim()
    assert world.claim() == []

    recover(world, endpoint)

    (trial,) = world.claim()
    world.attempt(trial, post=answering(200))
    assert DeliveryAttempt.objects.get().trigger == "trial"
    assert len(world.claim()) == 2


def test_ten_thousand_at_most_the_oldest_first(world, monkeypatch):
    monkeypatch.setattr(replay, "RECOVER_MAX", 3)
    endpoint = make_due(world, 4)
    finish(endpoint, Status.FAILED)

    first, second = recover(world, endpoint), recover(world, endpoint)

    assert (first.number, first.has_more) == (3, True)
    assert (second.number, second.has_more) == (1, False)
    newest = WebhookDelivery.objects.order_by("-pk")[0]
    assert newest.recovery_id == second.pk


@pytest.mark.parametrize(
    ("since", "until", "code"),
    [
        (-14 * DAY - timedelta(seconds=1), DAY, "since_too_old"),
        (DAY, DAY, "field_invalid"),
        (DAY, timedelta(0), "field_invalid"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(world, since, until, code):
    endpoint = make_due(world, 1)
    finish(endpoint, Status.FAILED)

    with pytest.raises(InvalidRequest) as refusal:
        recover(world, endpoint, since=START + since, until=START + until)

    assert (refusal.value.code, refusal.value.pointer) == (code, "/since")
    assert not WebhookRecovery.objects.exists()
    assert world.claim() == []


def test_fourteen_days_back_are_just_taken(world):
    endpoint = make_due(world, 1)
    finish(endpoint, Status.FAILED)

    assert recover(world, endpoint, since=START - 14 * DAY).number == 1


def test_nothing_is_recovered_for_an_endpoint_that_is_switched_off(world):
    endpoint = make_due(world, 1)
    finish(endpoint, Status.FAILED)
    endpoint_health.disable_endpoint(endpoint, reason="gone", now=world.now)

    with pytest.raises(Conflict) as refusal:
        recover(world, endpoint)

    assert refusal.value.code == "endpoint_disabled"
    assert not WebhookRecovery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_recovered_twice_at_once_is_recovered_once():
    world = World()
    endpoint = make_due(world, 50)
    finish(endpoint, Status.FAILED)

    found = in_parallel(4, lambda: recover(world, endpoint).number)

    assert sorted(found) == [0, 0, 0, 50]
    assert WebhookDelivery.objects.filter(status=Status.PENDING).count() == 50


@pytest.mark.django_db(transaction=True)
def test_redelivered_by_four_at_once_is_sent_once():
    world = World()
    make_due(world, 1)
    (claim,) = world.claim()
    world.attempt(claim, post=answering(200))
    delivery = WebhookDelivery.objects.get()

    in_parallel(4, lambda: redeliver(world, delivery))

    claims = world.claim()
    assert len(claims) == 1
    world.attempt(claims[0], post=answering(200))
    assert world.claim() == []
    assert len(recorded("webhook_delivery.redelivered")) == 1


# --- what is forgotten --------------------------------------------------------------


def test_an_answer_is_expunged_and_its_attempt_stays(world, listen):
    receiver = listen(
        Reply(status=500, body=b"private"), Reply(status=500, body=b"second")
    )
    delivery = world.delivery(receiver.url)
    world.run()
    world.pass_time(5)
    world.run()

    for _ in range(2):
        replay.erase_response(
            tenant=world.tenant,
            actor="key:k",
            delivery_id=delivery.pk,
            number=1,
            now=world.now,
        )

    log = delivery.log.order_by("claim_token")
    assert [each.response_excerpt for each in log] == ["", "second"]
    assert outcomes(delivery) == [500, 500]
    assert recorded("webhook_delivery.response_expunged") == [
        {"delivery_id": str(delivery.pk), "attempt": 1}
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM webhooks_deliveryattempt")
        assert cursor.fetchone() == (2,)


@pytest.mark.parametrize("number", [0, 2, 10**30])
def test_an_attempt_that_was_not_made_cannot_be_expunged(world, number):
    delivery = world.delivery("https://hooks.example/")
    (claim,) = world.claim()
    world.attempt(
        claim, post=lambda *_a, **_o: PostResult(status_code=500, excerpt="x")
    )

    with pytest.raises(NotFound):
        replay.erase_response(
            tenant=world.tenant,
            actor="key:k",
            delivery_id=delivery.pk,
            number=number,
            now=world.now,
        )

    assert DeliveryAttempt.objects.get().response_excerpt == "x"
