"""What a change of an endpoint means for messages that are already on their way."""

from datetime import timedelta

import pytest
from django.db import transaction

from jobs.accounts.caller import Caller
from tests.support.factories import make_key
from tests.support.parallel import in_parallel
from tests.support.webhook_receiver import Reply
from tests.support.webhooks import World
from workers.webhooks import endpoints
from workers.webhooks.delivery import endpoint_health, fan_out
from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.messages import secrets, signing
from workers.webhooks.messages.secrets import SecretRotationRequest
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint

Status = WebhookDelivery.Status


@pytest.fixture
def caller(world):
    return Caller(tenant=world.tenant, api_key=make_key(world.tenant)[0])


def change(world, caller, delivery, **fields):
    endpoints.update_endpoint(
        caller=caller, endpoint_id=delivery.endpoint_id, fields=fields, now=world.now
    )


def delete(world, caller, delivery):
    endpoints.delete_endpoint(
        caller=caller, endpoint_id=delivery.endpoint_id, now=world.now
    )


def signs(request, secret, *, now):
    try:
        signing.verify(
            headers=request.headers, body=request.body, secret=secret, now=now
        )
    except signing.InvalidSignature:
        return False
    return True


def test_messages_still_to_come_go_to_the_new_url(world, listen, caller):
    old, new = listen(Reply(status=500)), listen()
    delivery = world.delivery(old.url)
    world.run()
    change(world, caller, delivery, url=new.url)
    world.pass_time(5)

    world.run()

    (first,), (second,) = old.received, new.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_what_waited_when_it_was_switched_off_never_comes(world, listen, caller):
    receiver = listen(Reply(status=500), Reply())
    delivery = world.delivery(receiver.url)
    world.run()

    change(world, caller, delivery, is_enabled=False)

    delivery.refresh_from_db()
    assert (delivery.status, delivery.finished_at) == (Status.DISCARDED, world.now)
    change(world, caller, delivery, is_enabled=True)
    world.pass_time(3600)
    assert world.run() == 0
    assert len(receiver.received) == 1
    world.event(world.job())
    fan_out.fan_out(limit=1, now=world.now)
    assert world.run() == 1
    assert len(receiver.received) == 2


def test_what_waited_when_we_switched_it_off_does_not_come_later(world, listen, caller):
    receiver = listen(Reply(status=500))
    delivery = world.delivery(receiver.url)
    world.run()
    endpoint_health.disable_endpoint(delivery.endpoint, reason="failing", now=world.now)

    change(world, caller, delivery, is_enabled=True)

    world.pass_time(3600)
    assert world.run() == 0
    delivery.refresh_from_db()
    assert delivery.status == Status.DISCARDED
    assert len(receiver.received) == 1


@pytest.mark.parametrize("act", [delete, lambda *to: change(*to, is_enabled=False)])
def test_a_claim_in_the_broker_sends_nothing_any_more(world, listen, caller, act):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    (claim,) = world.claim()

    act(world, caller, delivery)

    assert world.attempt(claim) is None
    assert receiver.received == []
    delivery.refresh_from_db()
    assert (delivery.status, delivery.is_claimed) == (Status.DISCARDED, False)


@pytest.mark.parametrize("status", [200, 500])
def test_deleted_while_it_is_being_told_it_stays_discarded(world, caller, status):
    delivery = world.delivery("https://hooks.example/")
    (claim,) = world.claim()

    def post(*_arguments, **_options):
        delete(world, caller, delivery)
        return PostResult(status_code=status)

    world.attempt(claim, post=post)

    delivery.refresh_from_db()
    assert (delivery.status, delivery.is_claimed) == (Status.DISCARDED, False)
    assert (delivery.next_attempt_at, delivery.body) == (None, None)
    assert [each.status_code for each in DeliveryAttempt.objects.all()] == [status]
    world.pass_time(86400)
    assert world.run() == 0


@pytest.mark.django_db(transaction=True)
def test_a_delete_does_not_wait_for_an_attempt_that_is_just_being_recorded():
    world = World()
    caller = Caller(tenant=world.tenant, api_key=None)
    delivery = world.delivery("https://hooks.example/")

    with transaction.atomic():
        WebhookDelivery.objects.select_for_update().get()
        done = in_parallel(1, lambda: delete(world, caller, delivery) or "deleted")
        # What the worker does next: with a lock held by the other it would wait.
        WebhookEndpoint.objects.update(failures=1, failing_since=world.now)

    assert done == ["deleted"]
    (claim,) = world.claim()
    assert world.attempt(claim) is None
    delivery.refresh_from_db()
    assert delivery.status == Status.DISCARDED


def test_a_final_one_that_was_asked_for_once_more_is_not_sent(world, listen, caller):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    world.run()
    WebhookDelivery.objects.update(
        next_attempt_at=world.now + timedelta(seconds=5), trigger="manual"
    )

    delete(world, caller, delivery)

    delivery.refresh_from_db()
    assert (delivery.status, delivery.next_attempt_at) == (Status.DELIVERED, None)
    assert delivery.finished_at == world.now
    assert len(receiver.received) == 1


def test_a_new_url_closes_the_circuit_and_lets_go_what_it_held(world, listen, caller):
    receiver = listen()
    delivery = world.delivery("https://hooks.example/")
    WebhookEndpoint.objects.update(
        failures=12,
        failing_since=world.now,
        trial_wait_seconds=3600,
        trial_at=world.now + timedelta(seconds=3600),
    )
    WebhookDelivery.objects.update(is_held=True)

    change(world, caller, delivery, url=receiver.url)

    world.announce()
    claims = world.tick() or world.tick()
    assert [each.delivery_id for each in claims] == [delivery.pk]
    assert WebhookEndpoint.objects.get().trial_wait_seconds == 0


def test_what_was_delivered_before_stays_delivered(world, listen, caller):
    delivery = world.delivery(listen().url)
    world.run()

    delete(world, caller, delivery)

    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED
    assert DeliveryAttempt.objects.count() == 1


def test_a_deleted_endpoint_hears_of_nothing_new(world, listen, caller):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    delete(world, caller, delivery)
    world.event(world.job())

    fan_out.fan_out(limit=10, now=world.now)

    assert WebhookDelivery.objects.count() == 1
    assert world.run() == 0


def test_both_secrets_sign_until_the_grace_is_over_to_the_second(world, listen):
    receiver = listen(Reply(status=500))
    delivery = world.delivery(receiver.url)
    rotated_at = world.now
    rotation = {"tenant": world.tenant, "endpoint": delivery.endpoint}
    old, new = (
        secrets.rotate_secret(
            rotation=SecretRotationRequest(grace=timedelta(seconds=305)),
            now=rotated_at,
            **rotation,
        ).secret
        for _ in range(2)
    )
    signed = []

    for wait in (0, 304, 1):
        world.pass_time(wait)
        WebhookDelivery.objects.update(next_attempt_at=world.now)
        assert world.run() == 1
        request = receiver.received[-1]
        signed.append([signs(request, each, now=world.now) for each in (new, old)])

    assert signed == [[True, True], [True, True], [True, False]]
    assert [len(r.headers["webhook-signature"].split()) for r in receiver.received] == [
        2,
        2,
        1,
    ]
    assert len({r.headers["webhook-id"] for r in receiver.received}) == 1
    assert len({r.headers["webhook-timestamp"] for r in receiver.received}) == 3
    assert len({r.body for r in receiver.received}) == 1


def test_a_callback_urls_messages_are_signed_with_the_tenants_secret(world, listen):
    receiver = listen()
    world.event(world.job(callback_url=receiver.url))
    secret = secrets.rotate_secret(
        tenant=world.tenant,
        endpoint=None,
        rotation=SecretRotationRequest(),
        now=world.now,
    ).secret
    fan_out.fan_out(limit=1, now=world.now)

    world.run()

    assert signs(receiver.received[0], secret, now=world.now)


def test_a_ping_arrives_signed_with_the_endpoints_secret(world, listen, caller):
    receiver = listen()
    endpoint = world.endpoint(receiver.url)
    rotated = secrets.rotate_secret(
        tenant=world.tenant,
        endpoint=endpoint,
        rotation=SecretRotationRequest(),
        now=world.now,
    )
    endpoints.ping_endpoint(caller=caller, endpoint_id=endpoint.pk, now=world.now)

    world.run()

    (request,) = receiver.received
    assert signs(request, rotated.secret, now=world.now)
    assert b'"type":"webhook.ping"' in request.body
