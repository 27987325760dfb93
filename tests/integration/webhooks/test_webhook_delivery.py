"""One delivery's life: attempts at the right times, fenced, signed, recorded."""

import json
import logging
from datetime import timedelta
from itertools import pairwise

import pytest
import standardwebhooks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone

from jobs.models import Batch, Event
from jobs.telemetry import tracing
from tests.support.parallel import in_parallel
from tests.support.webhook_receiver import Reply
from tests.support.webhooks import START, World, outcomes
from workers.webhooks.delivery import endpoint_health, services, transport
from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.messages import secrets, signing
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)

Status = WebhookDelivery.Status
DELAYS = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]


def verify(request, secret: str, *, now) -> None:
    signing.verify(headers=request.headers, body=request.body, secret=secret, now=now)


def test_a_message_arrives_signed_and_is_recorded(world, listen):
    receiver = listen(Reply(status=201, body=b"thanks"))
    delivery = world.delivery(receiver.url, text="Hello Grüße")

    assert world.run() == 1

    (request,) = receiver.received
    verify(request, secrets.get_or_create_tenant_secret(world.tenant), now=START)
    assert request.headers["webhook-id"] == f"msg_{delivery.event_id.hex}"
    message = json.loads(request.body)
    assert message["id"] == request.headers["webhook-id"]
    assert message["type"] == "job.completed"
    assert message["data"]["result"]["text"] == "Hello Grüße"
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 1)
    assert (delivery.finished_at, delivery.is_claimed) == (START, False)
    assert bytes(delivery.body or b"") == request.body
    (attempt,) = delivery.log.all()
    assert (attempt.status_code, attempt.response_excerpt) == (201, "thanks")
    assert attempt.started_at == START


def test_the_reference_library_accepts_a_message_that_arrived(listen, db):
    world = World()
    receiver = listen()
    world.delivery(receiver.url)
    services.deliver(world.claim(), clock=timezone.now)

    (request,) = receiver.received
    standardwebhooks.Webhook(secrets.get_or_create_tenant_secret(world.tenant)).verify(
        request.body, request.headers
    )


def test_ten_attempts_at_the_right_times_with_one_id_and_then_no_more(world, listen):
    receiver = listen(Reply(status=500))
    delivery = world.delivery(receiver.url)
    secret = secrets.get_or_create_tenant_secret(world.tenant)

    assert world.run() == 1
    for delay in DELAYS:
        world.pass_time(delay - 1)
        assert world.run() == 0
        world.pass_time(1)
        assert world.run() == 1
        verify(receiver.received[-1], secret, now=world.now)
    world.pass_time(10**6)

    assert world.run() == 0
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (Status.FAILED, 10)
    assert outcomes(delivery) == [500] * 10
    assert len(receiver.received) == 10
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
    assert len({each.body for each in receiver.received}) == 1
    stamps = [int(each.headers["webhook-timestamp"]) for each in receiver.received]
    assert [b - a for a, b in pairwise(stamps)] == DELAYS


def test_the_bytes_stay_the_same_when_the_transcript_does_not(world, listen):
    receiver = listen(Reply(status=500), Reply())
    delivery = world.delivery(receiver.url)
    world.run()
    delivery.job.transcript.text = "something else"
    delivery.job.transcript.save()
    world.pass_time(5)
    world.run()

    first, second = receiver.received
    assert first.body == second.body


def test_a_success_ends_it_and_clears_the_endpoints_record(world, listen):
    receiver = listen(Reply(status=500), Reply(status=500), Reply())
    delivery = world.delivery(receiver.url)
    world.run()
    world.pass_time(5)
    world.run()
    endpoint = WebhookEndpoint.objects.get()
    assert (endpoint.failures, endpoint.failing_since) == (2, START)

    world.pass_time(300)
    world.run()
    world.pass_time(10**6)

    assert world.run() == 0
    assert outcomes(delivery) == [500, 500, 200]
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.failing_since) == (0, None)


def test_the_next_attempt_counts_from_the_end_of_this_one(world):
    delivery = world.delivery("https://hooks.example/")
    (claim,) = world.claim()

    def slow(*_arguments, **_options) -> PostResult:
        world.pass_time(4)
        return PostResult(status_code=500)

    world.attempt(claim, post=slow)

    delivery.refresh_from_db()
    assert delivery.next_attempt_at == START + timedelta(seconds=4 + 5)


def test_a_redirect_is_a_failure_and_its_target_is_never_visited(world, listen):
    target = listen()
    receiver = listen(Reply(status=307, headers={"location": target.url}))
    delivery = world.delivery(receiver.url)

    world.run()

    assert outcomes(delivery) == [307]
    assert target.connections == 0


def test_a_refused_destination_is_tried_again_and_tells_nothing(
    world, listen, settings
):
    settings.EGRESS_ALLOW = []
    receiver = listen()
    delivery = world.delivery(receiver.url)

    world.run()

    delivery.refresh_from_db()
    assert delivery.next_attempt_at == START + timedelta(seconds=5)
    (attempt,) = delivery.log.all()
    assert attempt.error == "destination_not_allowed"
    assert (attempt.duration_ms, attempt.response_excerpt) == (0, "")
    assert receiver.connections == 0


# --- who is switched off --------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        (Reply(status=410), Status.DISCARDED, "gone"),
        (
            Reply(status=500, headers={"webhook-delivery": "disable"}),
            Status.DISCARDED,
            "asked_by_receiver",
        ),
        (
            Reply(headers={"webhook-delivery": "disable"}),
            Status.DELIVERED,
            "asked_by_receiver",
        ),
        (
            Reply(status=500, headers={"webhook-delivery": "abort-message"}),
            Status.DISCARDED,
            "",
        ),
    ],
    ids=["410", "disable", "2xx disable", "abort"],
)
def test_the_receiver_may_end_it(world, listen, reply, status, reason):
    receiver = listen(reply)
    delivery = world.delivery(receiver.url)

    world.run()

    delivery.refresh_from_db()
    assert delivery.status == status
    endpoint = WebhookEndpoint.objects.get()
    assert (endpoint.is_enabled, endpoint.disabled_reason) == (not reason, reason)
    told = Event.objects.filter(type="webhook_endpoint.disabled")
    assert [each.data for each in told] == (
        [{"endpoint_id": str(endpoint.pk), "reason": reason}] if reason else []
    )
    assert all(each.fanned_out_at for each in told)


def test_an_endpoint_is_switched_off_once(world):
    endpoint = world.endpoint()

    for reason in ("gone", "failing"):
        endpoint_health.disable_endpoint(endpoint, reason=reason, now=world.now)

    endpoint.refresh_from_db()
    assert endpoint.disabled_reason == "gone"
    assert Event.objects.filter(type="webhook_endpoint.disabled").count() == 1


def test_what_a_switched_off_endpoint_still_had_coming_is_discarded(world, listen):
    receiver = listen(Reply(status=500))
    delivery = world.delivery(receiver.url)
    world.run()
    endpoint_health.disable_endpoint(delivery.endpoint, reason="gone", now=world.now)
    world.pass_time(5)

    world.run()

    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (Status.DISCARDED, 1)
    assert len(receiver.received) == 1


def test_five_days_of_nothing_but_failures_switch_it_off(world, listen):
    receiver = listen(Reply(status=500))
    delivery = world.delivery(receiver.url)
    WebhookEndpoint.objects.update(failures=9, failing_since=START - timedelta(days=5))

    world.run()

    delivery.endpoint.refresh_from_db()
    assert delivery.endpoint.disabled_reason == "failing"
    assert delivery.endpoint.disabled_at == START
    delivery.refresh_from_db()
    assert delivery.status == Status.PENDING


def test_a_new_url_is_used_by_the_attempts_still_to_come(world, listen):
    old, new = listen(Reply(status=500)), listen()
    delivery = world.delivery(old.url)
    world.run()
    WebhookEndpoint.objects.update(url=new.url)
    world.pass_time(5)

    world.run()

    assert (len(old.received), len(new.received)) == (1, 1)
    assert outcomes(delivery) == [500, 200]


# --- crashes and races ----------------------------------------------------------


def test_a_worker_killed_after_the_post_sends_again_with_the_same_id(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    (claim,) = world.claim()

    def post_and_die(*arguments, **options) -> PostResult:
        transport.post(*arguments, **options)
        raise SystemExit

    with pytest.raises(SystemExit):
        world.attempt(claim, post=post_and_die)
    world.pass_time(services.claim_time().total_seconds() - 1)
    assert world.run() == 0
    world.pass_time(1)
    assert world.run() == 1

    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 1)


def test_a_stale_claim_sends_nothing(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    (old,) = world.claim()
    world.pass_time(services.claim_time().total_seconds())
    (new,) = world.claim()

    assert world.attempt(old) is None
    assert receiver.connections == 0
    assert world.attempt(new).status_code == 200
    assert world.attempt(new) is None
    assert outcomes(delivery) == [200]


def test_a_late_writer_logs_its_attempt_and_changes_nothing(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    (old,) = world.claim()

    def overtaken(*_arguments, **_options) -> PostResult:
        world.pass_time(services.claim_time().total_seconds())
        assert world.run() == 1
        return PostResult(status_code=410)

    world.attempt(old, post=overtaken)

    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 1)
    assert WebhookEndpoint.objects.get().is_enabled
    assert outcomes(delivery) == [410, 200]


def test_a_message_that_the_broker_delivered_twice_is_recorded_once(world, listen):
    receiver = listen(Reply(status=500))
    delivery = world.delivery(receiver.url)
    (claim,) = world.claim()

    def beside_the_same(*arguments, **options) -> PostResult:
        world.attempt(claim)
        return transport.post(*arguments, **options)

    world.attempt(claim, post=beside_the_same)

    assert len(receiver.received) == 2  # at least once is what is promised
    assert outcomes(delivery) == [500]
    delivery.refresh_from_db()
    assert (delivery.attempts, delivery.status) == (1, Status.PENDING)


def test_a_claim_that_waited_in_the_broker_is_extended_for_its_attempt(world):
    delivery = world.delivery("https://hooks.example/")
    (claim,) = world.claim()
    world.pass_time(services.claim_time().total_seconds() - 1)
    ends = []

    def look(*_arguments, **_options) -> PostResult:
        delivery.refresh_from_db()
        ends.append(delivery.next_attempt_at)
        return PostResult(status_code=200)

    world.attempt(claim, post=look)

    assert ends == [world.now + services.claim_time()]


def test_a_job_erased_in_the_middle_of_an_attempt_leaves_nothing(world):
    delivery = world.delivery("https://hooks.example/")
    (claim,) = world.claim()

    def erase(*_arguments, **_options) -> PostResult:
        delivery.job.delete()
        return PostResult(status_code=500)

    world.attempt(claim, post=erase)

    assert not WebhookDelivery.objects.exists()
    assert not DeliveryAttempt.objects.exists()
    assert world.attempt(claim) is None


@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_held_while_it_sends():
    world = World()
    world.delivery("https://hooks.example/")
    (claim,) = world.claim()
    held = []

    def look(*_arguments, **_options) -> PostResult:
        held.append(connection.connection)
        return PostResult(status_code=200)

    world.attempt(claim, post=look)

    assert held == [None]
    assert WebhookDelivery.objects.get().status == Status.DELIVERED


# --- secrets ----------------------------------------------------------------------


def test_an_endpoints_own_secrets_sign_and_the_expired_do_not(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    new, old, expired = (signing.new_secret() for _ in range(3))
    day = timedelta(days=1)
    for secret, until in [(old, START + day), (expired, START), (new, None)]:
        WebhookSecret.objects.create(
            tenant=world.tenant,
            endpoint=delivery.endpoint,
            ciphertext=secrets.encrypt(secret),
            expires_at=until,
        )
    tenants = secrets.get_or_create_tenant_secret(world.tenant)

    world.run()

    (request,) = receiver.received
    for secret in (new, old):
        verify(request, secret, now=START)
    for secret in (expired, tenants):
        with pytest.raises(signing.InvalidSignature):
            verify(request, secret, now=START)
    first = request.headers["webhook-signature"].split(" ")[0]
    assert (
        first
        == signing.sign(
            message_id=request.headers["webhook-id"],
            at=START,
            body=request.body,
            secrets=[new],
        )["webhook-signature"]
    )


@pytest.mark.django_db(transaction=True)
def test_callers_at_once_get_one_secret():
    world = World()

    found = in_parallel(6, lambda: secrets.get_or_create_tenant_secret(world.tenant))

    assert len(set(found)) == 1
    assert WebhookSecret.objects.count() == 1


def test_a_secret_is_encrypted_at_rest_and_survives_a_new_key(world, settings):
    secret = secrets.get_or_create_tenant_secret(world.tenant)
    stored = bytes(WebhookSecret.objects.get().ciphertext)
    assert secret.encode() not in stored
    new_key = "k" * 43 + "="

    settings.FIELD_ENCRYPTION_KEYS = [new_key, *settings.FIELD_ENCRYPTION_KEYS]

    assert secrets.get_or_create_tenant_secret(world.tenant) == secret
    settings.FIELD_ENCRYPTION_KEYS = [new_key]
    with pytest.raises(ImproperlyConfigured, match="FIELD_ENCRYPTION_KEYS lacks"):
        secrets.get_or_create_tenant_secret(world.tenant)


def test_neither_secret_nor_url_nor_text_is_logged(world, listen, caplog):
    receiver = listen(Reply(status=410, body=b"private words"))
    world.delivery(receiver.url + "?token=private", text="private words")
    caplog.set_level(logging.DEBUG)

    world.run()

    secret = secrets.get_or_create_tenant_secret(world.tenant)
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "webhook attempt" in logged
    assert "webhook endpoint disabled" in logged
    assert secret not in logged
    assert "private" not in logged.replace("private_key", "")


def test_an_endpoint_gets_its_own_headers_and_the_payload_it_chose(world, listen):
    receiver = listen()
    kept = secrets.encrypt_headers({"Authorization": "Bearer hidden", "X-Team": "a b"})
    endpoint = world.endpoint(receiver.url, headers=kept, payload="thin")
    world.event(world.job("Hello."))
    world.fan_out()

    world.run()

    (received,) = receiver.received
    assert received.headers["authorization"] == "Bearer hidden"
    assert received.headers["x-team"] == "a b"
    assert received.headers["content-type"] == "application/json"
    assert json.loads(received.body)["data"]["result"] is None
    assert "hidden" not in str(WebhookEndpoint.objects.values().get(pk=endpoint.pk))


def test_a_message_goes_on_with_the_trace_that_somebody_keeps(world, listen):
    receiver = listen(Reply())
    kept = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    unkept = "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    for traceparent in (kept, unkept, ""):
        world.event(world.job(traceparent=traceparent, callback_url=receiver.url))
    batch = Batch.objects.create(
        tenant=world.tenant, total=1, callback_url=receiver.url, traceparent=kept
    )
    Event.objects.create(
        tenant=world.tenant, batch=batch, type="batch.progress", created_at=START
    )

    world.fan_out()
    with tracing.within(None):
        assert world.run() == 4

    told = [request.headers.get("traceparent") for request in receiver.received]
    assert sorted(told, key=str) == [kept, kept, None, None]
