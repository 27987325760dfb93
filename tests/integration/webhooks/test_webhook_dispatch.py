"""The dispatcher's round: what is due is claimed once, fairly, and sent after COMMIT."""

import json
import uuid
from collections import Counter
from datetime import timedelta

import pytest
import redis
from django.conf import settings as django_settings
from django.db import transaction
from django.utils import timezone
from kombu import Message
from kombu.exceptions import OperationalError

from jobs.batches.records import BatchDraft
from jobs.models import Job, Tenant, Worker
from jobs.scheduling.process_queues import queue_of_process
from jobs.services import JobDraft
from jobs.state import JobStatus
from tests.support.batches import submit_batch
from tests.support.factories import move_job
from tests.support.parallel import in_parallel
from tests.support.webhooks import START, World, make_due
from transcribe_platform.celery import app
from workers.webhooks import tasks
from workers.webhooks.delivery import dispatch, services, shares
from workers.webhooks.delivery.loading import DeliveryClaim
from workers.webhooks.models import WebhookDelivery


def claimed() -> Counter[uuid.UUID]:
    rows = WebhookDelivery.objects.filter(is_claimed=True)
    return Counter(rows.values_list("endpoint_id", flat=True))


@pytest.fixture
def sent(monkeypatch) -> list[dict]:
    """The messages that were sent, without their connection."""
    found: list[dict] = []

    def publish(_task: str, *, connection: object, **message: object) -> None:
        found.append(message)

    monkeypatch.setattr(dispatch.jobs_dispatch, "publish", publish)
    return found


@pytest.fixture
def broker() -> redis.Redis:
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


def test_one_tick_takes_an_event_to_the_broker(world, sent):
    world.endpoint()
    world.event()
    world.announce()

    claims = world.tick()

    delivery = WebhookDelivery.objects.get()
    claim = DeliveryClaim(delivery_id=delivery.pk, token=1, process="hooks-1")
    assert claims == [claim]
    assert [each["kwargs"] for each in sent] == [
        {"deliveries": [[str(delivery.pk), 1]]}
    ]
    assert (delivery.is_claimed, delivery.claim_token) == (True, 1)
    assert delivery.process == "hooks-1"
    assert delivery.next_attempt_at == START + services.claim_time()
    assert world.tick() == []


def test_the_end_of_a_batch_is_claimed_in_the_tick_that_counts_it(world, sent):
    world.now = timezone.now()
    drafts = [JobDraft(audio_url="https://audio.example/a.wav")]
    draft = BatchDraft(jobs=drafts, metadata={}, callback_url="https://call.example/")
    submit_batch(tenant=world.tenant, api_key=None, draft=draft, now=world.now)
    move_job(Job.objects.get(), JobStatus.CANCELED)
    world.announce()

    (claim,) = world.tick()

    delivery = WebhookDelivery.objects.get(pk=claim.delivery_id)
    assert delivery.event.type == "batch.completed"


def test_a_region_of_its_own_redis_sends_only_what_its_own_workers_hear(
    world, sent, settings
):
    settings.REGION_REDIS_URLS = {"eu": "redis://eu", "us": "redis://us"}
    make_due(world, 5, max_concurrent=5)
    theirs = {"queues": ["webhooks.us"], "slots": 10, "seen_at": world.now}
    Worker.objects.update_or_create(defaults=theirs)

    assert world.tick(region="eu") == []
    assert world.tick() == []

    ours = {"queues": ["webhooks.eu"], "slots": 4, "seen_at": world.now}
    Worker.objects.create(name="ours", **ours)
    assert len(world.tick(region="eu")) == 2
    assert len(world.tick(region="us")) == 3


def read_message(queue: str) -> Message:
    with app.connection_for_read() as link, link.SimpleQueue(queue) as waiting:
        message = waiting.get(timeout=5)
        message.ack()
    return message


def test_a_process_gets_one_message_with_all_its_claims(world, broker):
    claims = [
        DeliveryClaim(delivery_id=uuid.uuid4(), token=3, process="hooks-1")
        for _ in range(3)
    ]

    dispatch.send(claims, now=world.now)

    message = read_message(queue_of_process("hooks-1"))
    assert message.headers["task"] == tasks.deliver_webhooks.name == "webhooks.deliver"
    pairs = [[str(claim.delivery_id), 3] for claim in claims]
    assert message.payload[:2] == [[], {"deliveries": pairs}]
    assert broker.llen("transcribe:process.hooks-1") == 0


def test_a_process_of_an_older_version_gets_its_message(world, broker):
    claim = DeliveryClaim(delivery_id=uuid.uuid4(), token=3)

    dispatch.send([claim], now=world.now)

    message = read_message(dispatch.QUEUE)
    assert message.headers["task"] == "webhooks.deliver"
    assert message.payload[:2] == [
        [],
        {"delivery_id": str(claim.delivery_id), "claim_token": 3},
    ]


@pytest.mark.parametrize("is_older", [False, True])
def test_the_task_makes_the_attempt_and_ignores_fields_of_the_future(
    world, listen, is_older
):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    (claim,) = world.claim()
    pair = [str(claim.delivery_id), claim.token]
    message = (
        dict(zip(("delivery_id", "claim_token"), pair, strict=True))
        if is_older
        else {"deliveries": [pair]}
    )

    outcome = tasks.deliver_webhooks(**message, colour="blue")

    assert outcome == "1 claimed, 1 attempted"

    delivery.refresh_from_db()
    assert delivery.status == WebhookDelivery.Status.DELIVERED
    assert len(receiver.received) == 1


def test_an_event_of_newer_code_is_told_as_it_is(world, listen):
    receiver = listen()
    world.endpoint(receiver.url)
    world.event(type="job.humming", data={"colour": "blue"})
    world.fan_out()

    assert world.run() == 1

    (told,) = receiver.received
    assert json.loads(told.body)["type"] == "job.humming"


def test_when_the_broker_is_away_all_are_handed_back_after_one_try(world, monkeypatch):
    tries = []

    def publish(_task: str, **message: object) -> None:
        tries.append(message)
        raise OperationalError

    monkeypatch.setattr(dispatch.jobs_dispatch, "publish", publish)
    make_due(world, 5)
    world.announce(slots=10, name="a")
    world.announce(slots=10, name="b")

    claims = world.tick()

    assert len(claims) == 5
    assert len(tries) == 1
    assert claimed() == {}
    assert dispatch.claim(now=world.now) == []
    world.pass_time(dispatch.RELEASE_DELAY_SECONDS)
    again = dispatch.claim(now=world.now)
    assert [each.token for each in again] == [2] * 5
    # The one that may have got through after all finds its token outdated.
    assert world.attempt(claims[0]) is None


def test_a_lost_claim_is_due_again_with_a_higher_token(world):
    make_due(world, 1)
    (first,) = world.claim()
    world.pass_time(services.claim_time().total_seconds() - 1)
    assert world.claim() == []
    world.pass_time(1)

    (second,) = world.claim()

    assert second.delivery_id == first.delivery_id
    assert (first.token, second.token) == (1, 2)


def test_lost_claims_do_not_count_against_their_target(world):
    make_due(world, shares.MAX_PER_TARGET)
    lost = world.claim()
    world.pass_time(services.claim_time().total_seconds())

    again = world.claim()

    assert len(again) == len(lost) == shares.MAX_PER_TARGET


def test_a_late_hand_back_leaves_the_newer_claim_alone(world):
    make_due(world, 1)
    (lost,) = world.claim()
    world.pass_time(services.claim_time().total_seconds())
    world.claim()

    dispatch.release_claims([lost], now=world.now)

    delivery = WebhookDelivery.objects.get()
    assert (delivery.is_claimed, delivery.claim_token) == (True, 2)


@pytest.mark.parametrize(
    "worker",
    [
        None,
        {"queues": ["webhooks"], "seconds_ago": 11},
        {"queues": ["transcribe.local"], "seconds_ago": 0},
    ],
    ids=["none", "dead", "of another queue"],
)
def test_without_a_live_webhook_worker_nothing_is_claimed(world, worker):
    make_due(world, 1)
    if worker:
        seen_at = START - timedelta(seconds=worker["seconds_ago"])
        Worker.objects.create(
            name="w", queues=worker["queues"], slots=9, seen_at=seen_at
        )

    assert dispatch.claim(now=world.now) == []
    assert claimed() == {}


def test_no_more_is_in_hand_than_live_workers_have_threads_for(world):
    for _ in range(5):
        make_due(world, 5)
    world.announce(slots=2, name="a")
    world.announce(slots=3, name="b")

    first = dispatch.claim(now=world.now)
    dispatch.release_claims(first[:2], now=world.now)
    world.pass_time(1)
    second = dispatch.claim(now=world.now)

    assert 4 <= len(first) <= 5
    assert len(second) == 2
    assert sum(claimed().values()) == len(first)


def test_thousands_due_of_one_endpoint_do_not_keep_out_another(world):
    flood = make_due(world, 3000)  # more than a tick looks at
    other = make_due(world, 1, tenant=Tenant.objects.create(name="quiet"))
    WebhookDelivery.objects.filter(endpoint=other).update(
        next_attempt_at=START + timedelta(seconds=1)
    )
    world.pass_time(1)
    world.announce(slots=100)

    dispatch.claim(now=world.now)
    dispatch.claim(now=world.now)

    assert claimed() == {flood.pk: shares.MAX_PER_TARGET, other.pk: 1}


def test_an_endpoint_says_how_many_at_once_it_takes(world):
    few = make_due(world, 20, max_concurrent=2)
    many = make_due(world, 60, max_concurrent=30)
    world.announce(slots=200)

    dispatch.claim(now=world.now)

    assert claimed() == {few.pk: 2, many.pk: 30}


def test_tenants_take_turns_when_slots_are_few(world):
    quiet = Tenant.objects.create(name="quiet")
    for _ in range(30):
        make_due(world, 3)
    mine = make_due(world, 3, tenant=quiet)
    world.announce(slots=3)

    dispatch.claim(now=world.now)

    assert claimed()[mine.pk] == 1
    assert sum(claimed().values()) == 3


def test_an_idle_tick_asks_one_question(world, django_assert_num_queries):
    world.announce()
    with django_assert_num_queries(1):
        world.tick()


@pytest.mark.django_db(transaction=True)
def test_dispatchers_at_once_claim_each_delivery_once_within_the_shares():
    world = World()
    for _ in range(4):
        make_due(world, 20)
    world.announce(slots=100)

    found = in_parallel(4, lambda: dispatch.claim(now=world.now))

    claims = [claim for each in found for claim in each]
    assert len({claim.delivery_id for claim in claims}) == len(claims) > 0
    assert all(number <= shares.MAX_PER_TARGET for number in claimed().values())
    assert sum(claimed().values()) == len(claims)


@pytest.mark.django_db(transaction=True)
def test_while_one_dispatcher_claims_another_leaves_it_alone():
    world = World()
    make_due(world, 1)
    world.announce()

    with transaction.atomic():
        assert dispatch.lock_and_count(now=world.now)
        (meanwhile,) = in_parallel(1, lambda: dispatch.claim(now=world.now))

    assert meanwhile == []
    assert len(dispatch.claim(now=world.now)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_just_being_recorded_is_left_for_the_next_tick():
    world = World()
    make_due(world, 2)
    world.announce()
    with transaction.atomic():
        locked = WebhookDelivery.objects.select_for_update().first()
        (claims,) = in_parallel(1, lambda: dispatch.claim(now=world.now))

    assert locked.pk not in {claim.delivery_id for claim in claims}
    assert len(claims) == 1
