"""A job is erased while its webhooks are at any point of their way."""

import pytest

from jobs.models import Event, Job
from jobs.retention import erasure
from tests.support.webhook_receiver import Reply
from tests.support.webhooks import START
from workers.webhooks.delivery import transport
from workers.webhooks.delivery.retention import erase_deliveries
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery

CALLBACK = "https://hooks.example/secret?token=secret"


def erase(job: Job) -> dict[str, int]:
    return erasure.erase_job(job=job, actor="me", now=START).erased


def assert_nothing_is_left(job: Job) -> None:
    for delivery in WebhookDelivery.objects.filter(job=job):
        assert (delivery.status, delivery.body) == ("discarded", None)
        assert (delivery.is_claimed, delivery.next_attempt_at) == (False, None)
        assert "secret" not in delivery.url + delivery.target
    for attempt in DeliveryAttempt.objects.filter(delivery__job=job):
        assert attempt.response_excerpt == ""


def test_what_waits_for_its_next_attempt_is_discarded(world, listen):
    receiver = listen(Reply(status=500, body=b"secret echo"))
    delivery = world.delivery(receiver.url, metadata={"name": "secret"})
    assert world.run() == 1
    delivery.refresh_from_db()
    assert b"secret" in bytes(delivery.body)

    erased = erase(delivery.job)

    assert {k: v for k, v in erased.items() if k.startswith("webhook")} == {
        "webhook_bodies": 1,
        "webhook_responses": 1,
        "webhooks_discarded": 1,
    }
    assert_nothing_is_left(delivery.job)
    world.pass_time(24 * 3600)
    assert world.run() == 0
    assert len(receiver.received) == 1


def test_an_answer_that_comes_after_the_erasure_is_not_kept(world):
    delivery = world.delivery("https://hooks.example/")
    (claim,) = world.claim()

    def post_meanwhile(*_args, **_kwargs):
        erase(delivery.job)
        return transport.PostResult(status_code=500, excerpt="secret echo")

    world.attempt(claim, post=post_meanwhile)

    assert DeliveryAttempt.objects.get().status_code == 500
    assert_nothing_is_left(delivery.job)


def test_a_claim_in_the_broker_sends_nothing_any_more(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    (claim,) = world.claim()
    erase(delivery.job)

    assert world.attempt(claim) is None

    assert receiver.received == []
    assert_nothing_is_left(delivery.job)


def test_an_event_that_is_fanned_out_too_late_is_not_told(world, listen):
    receiver = listen()
    world.endpoint(receiver.url)
    job = world.job(callback_url=CALLBACK)
    world.event(job)
    erase(job)

    assert world.fan_out() == 1
    assert world.run() == 1

    assert receiver.received == []
    assert WebhookDelivery.objects.filter(job=job).count() == 1  # no callback
    assert_nothing_is_left(job)


def test_a_callback_that_was_planned_meanwhile_is_emptied(world):
    """The fan-out had read the job before it was erased, and commits after."""
    job = world.job(callback_url=CALLBACK)
    event = world.event(job)
    erase(job)
    WebhookDelivery.objects.create(
        tenant=job.tenant,
        event=event,
        job=job,
        url=CALLBACK,
        target="secret",
        next_attempt_at=START,
        created_at=START,
    )

    assert world.run() == 1

    assert_nothing_is_left(job)


def test_others_deliveries_stay(world):
    mine, other = world.job(), world.job()
    world.endpoint()
    world.event(mine)
    world.event(other)
    world.fan_out()

    assert erase_deliveries([mine], START)["webhooks_discarded"] == 1

    kept = WebhookDelivery.objects.get(job=other)
    assert kept.status == "pending"
    assert Event.objects.filter(job=other, fanned_out_at=START).exists()


@pytest.mark.parametrize("state", ["delivered", "failed"])
def test_what_has_ended_keeps_its_end(world, state):
    delivery = world.delivery("https://hooks.example/")
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        status=state, next_attempt_at=None, finished_at=START
    )

    erase(delivery.job)

    delivery.refresh_from_db()
    assert delivery.status == state


def test_what_is_held_back_or_wanted_once_more_is_not_sent_after_an_erasure(
    world, listen
):
    receiver = listen()
    held, again = world.delivery(receiver.url), world.delivery(receiver.url)
    rows = WebhookDelivery.objects.filter
    rows(pk=held.pk).update(is_held=True)
    rows(pk=again.pk).update(
        status="delivered", finished_at=START, trigger="manual", body=b"{}"
    )

    erase_deliveries(Job.objects.all(), START)

    assert world.run() == 0
    assert receiver.connections == 0
    assert set(rows().values_list("status", "next_attempt_at", "is_held", "body")) == {
        ("discarded", None, False, None),
        ("delivered", None, False, None),
    }
