"""Ten failures in a row: one trial at a time, the others wait and nothing is counted."""

from datetime import timedelta

import pytest

from jobs.accounts.caller import Caller
from tests.support.webhook_receiver import Reply
from tests.support.webhooks import START, answering, make_due, open_circuit
from workers.webhooks import endpoints
from workers.webhooks.delivery import (
    dispatch,
    endpoint_health,
    schedule,
    services,
)
from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint

Status = WebhookDelivery.Status


def held() -> int:
    return WebhookDelivery.objects.filter(is_held=True).count()


def test_the_tenth_failure_in_a_row_opens_it(world):
    endpoint = make_due(world, 10)
    for claim in world.claim():
        endpoint.refresh_from_db()
        assert (endpoint.trial_wait_seconds, endpoint.trial_at) == (0, None)
        world.attempt(claim, post=answering(500))

    endpoint.refresh_from_db()
    assert endpoint.failures == 10
    assert endpoint.trial_wait_seconds == 60
    assert endpoint.trial_at == START + timedelta(seconds=60)


def test_sporadic_success_keeps_it_closed(world):
    endpoint = make_due(world, 30)
    for number in range(30):
        (claim, *_) = world.claim()
        world.attempt(claim, post=answering(200 if number % 10 == 9 else 500))
        WebhookDelivery.objects.filter(is_claimed=True).update(
            is_claimed=False, next_attempt_at=START
        )

    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.trial_wait_seconds) == (0, 0)
    assert endpoint.is_enabled


def test_while_it_is_open_nothing_is_sent_and_nothing_counted(world):
    open_circuit(world)
    well = make_due(world, 2)

    claims = world.claim()

    assert len(claims) == 2
    assert {
        each.endpoint_id for each in WebhookDelivery.objects.filter(is_claimed=True)
    } == {well.pk}
    assert held() == 5
    assert set(WebhookDelivery.objects.values_list("status", "attempts", "step")) == {
        (Status.PENDING, 0, 0)
    }


def test_trials_one_at_a_time_after_a_minute_doubling_to_an_hour(world):
    endpoint = open_circuit(world, number=20)
    assert world.claim() == []
    waits = []
    for _ in range(8):
        endpoint.refresh_from_db()
        waits.append((endpoint.trial_at - world.now).total_seconds())
        world.now = endpoint.trial_at - timedelta(seconds=1)
        assert world.claim() == []
        world.pass_time(1)
        (claim,) = world.claim()
        assert world.claim() == []
        world.attempt(claim, post=answering(500))

    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    triggers = DeliveryAttempt.objects.values_list("trigger", flat=True)
    assert set(triggers) == {"trial"}
    endpoint.refresh_from_db()
    assert endpoint.failures == 18


@pytest.mark.parametrize(("status", "is_closed"), [(200, True), (500, False)])
def test_a_ping_passes_an_open_circuit_and_its_success_closes_it(
    world, status, is_closed
):
    endpoint = open_circuit(world, number=3)
    assert world.claim() == []
    caller = Caller(tenant=endpoint.tenant, api_key=None, operator="user:ada")

    ping = endpoints.ping_endpoint(
        caller=caller, endpoint_id=endpoint.pk, now=world.now
    )
    (claim,) = world.claim()
    world.attempt(claim, post=answering(status))

    endpoint.refresh_from_db()
    ping.refresh_from_db()
    assert claim.delivery_id == ping.pk
    assert (endpoint.trial_wait_seconds == 0) == is_closed
    assert ping.attempts == 1
    assert ping.status == ("delivered" if is_closed else "pending")
    assert len(world.claim()) == (3 if is_closed else 0)


def test_a_success_lets_all_of_them_go(world):
    endpoint = open_circuit(world, number=5)
    world.claim()
    world.pass_time(60)
    (trial,) = world.claim()
    assert held() == 4

    world.attempt(trial, post=answering(200))

    claims = world.claim()
    assert (len(claims), held()) == (4, 0)
    for claim in claims:
        world.attempt(claim, post=answering(200))
    assert set(WebhookDelivery.objects.values_list("status", "attempts")) == {
        (Status.DELIVERED, 1)
    }
    world.claim()
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.failing_since) == (0, None)
    assert (endpoint.trial_wait_seconds, endpoint.trial_at) == (0, None)


def test_what_is_held_back_keeps_no_tick_busy(world, monkeypatch):
    monkeypatch.setattr(dispatch, "send", lambda *_claims, **_options: None)
    open_circuit(world, number=30)
    world.announce()
    world.tick()

    assert dispatch._find_work(world.now) == (False, False, False, False)


def test_a_circuit_without_anything_to_try_tries_what_comes_next(world):
    endpoint = open_circuit(world, number=0)
    world.pass_time(60)
    assert world.claim() == []
    endpoint.refresh_from_db()
    assert (endpoint.trial_wait_seconds, endpoint.trial_at) == (60, None)
    assert not dispatch._find_work(world.now)[2]
    for _ in range(2):
        world.event()
    services_made = world.fan_out()

    (claim,) = world.claim()

    assert services_made == 2
    assert held() == 1
    assert world.attempt(claim, post=answering(500)).status_code == 500
    assert DeliveryAttempt.objects.get().trigger == "trial"


def test_a_trial_whose_worker_died_is_followed_by_another(world):
    open_circuit(world, number=3)
    world.claim()
    world.pass_time(60)
    assert len(world.claim()) == 1

    world.pass_time(services.claim_time().total_seconds())

    (again,) = world.claim()
    assert world.attempt(again, post=answering(200)).is_success
    assert len(world.claim()) == 2


def test_a_message_in_the_broker_when_it_opens_is_held_and_not_sent(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    (claim,) = world.claim()
    WebhookEndpoint.objects.update(
        failures=10, failing_since=START, trial_wait_seconds=60, trial_at=None
    )

    assert world.attempt(claim) is None

    assert receiver.connections == 0
    delivery.refresh_from_db()
    assert (delivery.is_held, delivery.attempts) == (True, 0)
    # Somebody must come for it.
    assert WebhookEndpoint.objects.get().trial_at == START


def test_a_failed_trial_does_not_open_what_a_success_closed_meanwhile(world):
    endpoint = open_circuit(world, number=1)
    world.claim()
    world.pass_time(60)
    (trial,) = world.claim()

    def closed_meanwhile(*_arguments, **_options) -> PostResult:
        fresh = WebhookEndpoint.objects.get()
        endpoint_health.record_result(
            fresh,
            result=PostResult(status_code=200),
            trigger="manual",
            disable="",
            now=world.now,
        )
        return PostResult(status_code=500)

    world.attempt(trial, post=closed_meanwhile)

    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.trial_wait_seconds) == (1, 0)


def test_what_a_switched_off_endpoint_had_waiting_is_discarded(world):
    endpoint = open_circuit(world, number=4)
    world.claim()
    endpoint_health.disable_endpoint(endpoint, reason="gone", now=world.now)
    world.pass_time(60)

    assert world.run() == 4

    assert set(WebhookDelivery.objects.values_list("status", "attempts")) == {
        (Status.DISCARDED, 0)
    }


def test_a_callback_url_has_no_circuit(world, listen):
    receiver = listen(Reply(status=500))
    for _ in range(12):
        world.event(world.job(callback_url=receiver.url))
    world.fan_out()

    while world.run():
        pass

    assert set(WebhookDelivery.objects.values_list("attempts", "is_held")) == {
        (1, False)
    }
    assert WebhookDelivery.objects.count() == 12


@pytest.mark.parametrize(
    ("last", "wait"), [(0, 60), (60, 120), (1920, 3600), (3600, 3600)]
)
def test_the_wait_for_a_trial_doubles_up_to_an_hour(last, wait):
    assert schedule.next_trial_wait(last) == wait


def test_more_than_a_slice_is_let_go_in_slices(world, monkeypatch):
    monkeypatch.setattr(endpoint_health, "RELEASED_PER_TICK", 2)
    endpoint = open_circuit(world, number=5)
    world.claim()
    WebhookEndpoint.objects.update(trial_wait_seconds=0, trial_at=world.now)

    left = []
    for _ in range(3):
        endpoint_health.release_held(now=world.now)
        left.append(held())

    assert left == [3, 1, 0]
    endpoint.refresh_from_db()
    assert endpoint.trial_at is None


@pytest.mark.parametrize("successes", [0, 1])
def test_only_an_endpoint_without_any_success_in_five_days_is_switched_off(
    world, successes
):
    endpoint = make_due(world, 12)
    for number in range(12):
        (claim, *_) = world.claim()
        well = successes and number == 6
        world.attempt(claim, post=answering(200 if well else 500))
        WebhookDelivery.objects.filter(is_claimed=True).update(is_claimed=False)
        WebhookDelivery.objects.filter(status=Status.PENDING, attempts=0).update(
            next_attempt_at=START, is_held=False
        )
        WebhookEndpoint.objects.update(trial_wait_seconds=0, trial_at=None)
        world.pass_time(11 * 3600)

    endpoint.refresh_from_db()
    assert endpoint.is_enabled is bool(successes)
    assert endpoint.disabled_reason == ("" if successes else "failing")
