"""Many deliveries in one process: claimed, loaded, sent and recorded together."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from jobs.models import Tenant, Worker
from tests.support.parallel import in_parallel
from tests.support.webhooks import START, World, answering, make_due, outcomes
from workers.webhooks.delivery import attempts, dispatch, services
from workers.webhooks.delivery.attempts import CompletedAttempt
from workers.webhooks.delivery.loading import DeliveryClaim
from workers.webhooks.delivery.schedule import NextStep, PostResult
from workers.webhooks.messages import secrets
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookSecret

Status = WebhookDelivery.Status


def processes_of(claims: list[DeliveryClaim]) -> Counter[str]:
    return Counter(claim.process for claim in claims)


# --- claims -------------------------------------------------------------------------


def test_a_process_gets_no_more_than_its_free_slots(world):
    for _ in range(10):
        make_due(world, 1)
    world.announce(name="a", slots=2)
    world.announce(name="b", slots=6)

    first = dispatch.claim(now=world.now)
    finished = [claim.delivery_id for claim in first if claim.process == "b"][:3]
    WebhookDelivery.objects.filter(pk__in=finished).delete()
    second = dispatch.claim(now=world.now)

    assert processes_of(first) == {"a": 2, "b": 5}
    assert processes_of(second) == {"b": 3}
    rows = WebhookDelivery.objects.filter(is_claimed=True)
    assert Counter(rows.values_list("process", flat=True)) == {"a": 2, "b": 5}


def test_processes_of_an_older_version_share_what_they_have_free(world):
    for tenant in (world.tenant, Tenant.objects.create(name="other")):
        for _ in range(5):
            make_due(world, 1, tenant=tenant)
    world.announce(name="new", slots=3)
    world.announce(name="old-1", slots=2, accepts_batches=False)
    world.announce(name="old-2", slots=2, accepts_batches=False)

    claims = [*dispatch.claim(now=world.now), *dispatch.claim(now=world.now)]

    assert processes_of(claims) == {"": 4, "new": 3}


def test_an_older_dispatchers_claims_belong_to_no_process(world):
    make_due(world, 2)
    world.announce(slots=1)
    (mine,) = dispatch.claim(now=world.now)
    # As the older statement does: it does not know the column.
    WebhookDelivery.objects.exclude(pk=mine.delivery_id).update(
        is_claimed=True,
        claim_token=1,
        next_attempt_at=START + services.claim_time(),
    )

    world.announce(name="another", slots=1)

    with transaction.atomic():
        counted = dispatch.lock_and_count(now=world.now)
    assert counted
    assert counted[0].by_process == {"hooks-1": 1, "": 1}


def test_claims_of_a_process_that_is_not_seen_are_due_at_the_next_tick(world):
    for _ in range(4):
        make_due(world, 1)
    world.announce(name="a", slots=4)
    lost = dispatch.claim(now=world.now)
    world.pass_time(11)
    world.announce(name="b", slots=4)

    again = world.tick()

    assert processes_of(again) == {"b": len(lost)}
    assert {each.token for each in again} == {2}
    assert world.attempt(lost[0], post=answering(200)) is None


@pytest.mark.parametrize(
    ("seconds", "up_seconds"), [(9, 60), (11, 9)], ids=["seen", "database was away"]
)
def test_claims_of_a_process_that_may_live_stay(world, seconds, up_seconds):
    make_due(world, 1)
    world.announce(name="a")
    assert len(dispatch.claim(now=world.now)) == 1
    world.pass_time(seconds)
    world.announce(name="b")

    up_since = world.now - timedelta(seconds=up_seconds)

    assert dispatch.tick(now=world.now, up_since=up_since) == []


def test_a_process_that_left_keeps_what_it_has_begun(world):
    make_due(world, 1)
    world.announce(name="a")
    (claim,) = dispatch.claim(now=world.now)
    Worker.objects.filter(name="a").delete()
    world.pass_time(11)
    world.announce(name="b")
    assert world.tick() == []

    world.attempt(claim, post=answering(200))

    assert WebhookDelivery.objects.get().status == Status.DELIVERED


def test_a_process_that_stops_returns_what_it_has_not_begun(world):
    for _ in range(2):
        make_due(world, 1)
    world.announce(name="a")
    begun, other = dispatch.claim(now=world.now)
    returned = []

    def post(*_arguments, **_options):
        returned.append(services.return_unstarted("a", now=world.now))
        return PostResult(status_code=200)

    world.attempt(begun, post=post)

    assert returned == [1]
    assert world.attempt(other, post=post) is None
    Worker.objects.all().delete()
    (again,) = world.claim()
    assert (again.delivery_id, again.token) == (other.delivery_id, 2)


# --- attempts -----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_deliveries_of_a_message_are_loaded_together_and_sent_at_once():
    world = World()
    for tenant in (world.tenant, Tenant.objects.create(name="other")):
        secrets.get_or_create_tenant_secret(tenant)
        make_due(world, 5, tenant=tenant)
    claims = world.claim()
    together = threading.Barrier(10, timeout=30)

    def post(*_arguments, **_options):
        together.wait()
        return PostResult(status_code=200)

    with CaptureQueriesContext(connection) as captured:
        world.attempt(*claims, post=post)

    loads = [each["sql"] for each in captured if each["sql"].startswith("SELECT")]
    assert len(claims) == 10
    assert len(loads) == 1
    rows = WebhookDelivery.objects.values_list("status", "attempts", "process")
    assert set(rows) == {(Status.DELIVERED, 1, "")}
    assert DeliveryAttempt.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_one_that_cannot_be_signed_fails_alone():
    world = World()
    broken, whole = make_due(world, 1), make_due(world, 1)
    WebhookSecret.objects.create(
        tenant=world.tenant, endpoint=broken, ciphertext=b"of another key"
    )

    with pytest.raises(ImproperlyConfigured):
        world.attempt(*world.claim(), post=answering(200))

    assert WebhookDelivery.objects.get(endpoint=whole).status == Status.DELIVERED
    assert WebhookDelivery.objects.get(endpoint=broken).attempts == 0


def test_stale_claims_are_skipped(world):
    make_due(world, 1)
    (claim,) = world.claim()
    stale = DeliveryClaim(delivery_id=claim.delivery_id, token=claim.token - 1)

    assert world.attempt(stale, post=answering(200)) is None
    assert WebhookDelivery.objects.get().attempts == 0


# --- outcomes -----------------------------------------------------------------------


def completed(claim: DeliveryClaim, **result) -> CompletedAttempt:
    delivery = WebhookDelivery.objects.select_related("endpoint").get(
        pk=claim.delivery_id
    )
    facts = PostResult(**({"status_code": 200} | result))
    return CompletedAttempt(
        delivery=delivery,
        body=b"{}",
        result=facts,
        step=attempts.choose_step(delivery, facts, draw=0.5, now=START),
        started_at=START,
        ended_at=START,
    )


def test_outcomes_are_recorded_by_one_statement_whatever_their_number(world):
    statements = []
    for number in (1, 9):
        make_due(world, number)
        group = [completed(claim) for claim in world.claim()]
        with CaptureQueriesContext(connection) as captured:
            attempts._commit(group, START)
        verbs = [each["sql"].split(maxsplit=1)[0] for each in captured]
        statements.append([each for each in verbs if "SAVEPOINT" not in each])

    assert statements[0] == statements[1]
    assert statements[0].count("WITH") == 1
    assert set(WebhookDelivery.objects.values_list("status", "attempts")) == {
        (Status.DELIVERED, 1)
    }
    assert DeliveryAttempt.objects.count() == 10


def test_each_of_a_group_gets_its_own_outcome(world):
    make_due(world, 1)
    make_due(world, 1)
    make_due(world, 1)
    taken, failed, gone = world.claim()

    attempts._commit(
        [
            completed(taken, excerpt="thanks"),
            completed(failed, status_code=500),
            completed(gone, status_code=None, error="timeout"),
        ],
        START,
    )

    rows = {each.pk: each for each in WebhookDelivery.objects.all()}
    assert outcomes(rows[taken.delivery_id]) == [200]
    assert outcomes(rows[failed.delivery_id]) == [500]
    assert outcomes(rows[gone.delivery_id]) == ["timeout"]
    assert rows[taken.delivery_id].log.get().response_excerpt == "thanks"
    assert rows[taken.delivery_id].next_attempt_at is None
    assert rows[failed.delivery_id].next_attempt_at == START + timedelta(seconds=5)
    assert rows[gone.delivery_id].next_attempt_at == START + timedelta(seconds=60)
    assert [rows[each.delivery_id].step for each in (taken, failed, gone)] == [0, 1, 1]


def test_failures_of_a_group_are_counted_for_each_endpoint(world):
    endpoint = make_due(world, 10)
    group = [completed(claim, status_code=500) for claim in world.claim()]

    attempts._commit(group, START)

    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.failing_since) == (10, START)
    assert endpoint.trial_wait_seconds == 60


def test_a_claim_that_was_lost_is_logged_and_changes_nothing(world):
    for _ in range(2):
        make_due(world, 1)
    lost, kept = (completed(claim, status_code=500) for claim in world.claim())
    WebhookDelivery.objects.filter(pk=lost.delivery.pk).update(claim_token=7)

    attempts._commit([lost, kept], START)

    assert (lost.is_current, kept.is_current) == (False, True)
    row = WebhookDelivery.objects.get(pk=lost.delivery.pk)
    assert (row.attempts, row.step, row.is_claimed) == (0, 0, True)
    assert outcomes(row) == [500]
    row.endpoint.refresh_from_db()
    assert row.endpoint.failures == 0


def test_a_message_that_was_sent_twice_counts_once(world):
    make_due(world, 1)
    (claim,) = world.claim()
    first, second = completed(claim), completed(claim)

    attempts.record_attempt(first)
    attempts.record_attempt(second)

    assert (first.is_current, second.is_current) == (True, False)
    row = WebhookDelivery.objects.get()
    assert (row.attempts, outcomes(row)) == (1, [200])


@pytest.mark.django_db(transaction=True)
def test_an_outcome_that_is_refused_is_refused_alone():
    world = World()
    for _ in range(4):
        make_due(world, 1)
    first, *others = (completed(claim) for claim in world.claim())
    refused = completed_with_nul(first)
    waiting = iter([refused, *others])
    taking = threading.Lock()

    def record() -> str:
        with taking:
            mine = next(waiting)
        try:
            attempts.record_attempt(mine)
        except (DataError, ValueError):
            return "refused"
        return "recorded"

    assert Counter(in_parallel(4, record)) == {"refused": 1, "recorded": 3}
    rows = WebhookDelivery.objects.values_list("status", "attempts")
    assert Counter(rows) == {(Status.DELIVERED, 1): 3, (Status.PENDING, 0): 1}


def completed_with_nul(attempt: CompletedAttempt) -> CompletedAttempt:
    """Return the attempt with a response that PostgreSQL does not store."""
    attempt.result = PostResult(status_code=200, excerpt="\0")
    attempt.step = NextStep(status=Status.DELIVERED)
    return attempt
