"""The engine in random order: whatever happens to jobs, what is promised of them holds.

Steps are the engine's own; between the start of a call and its end anything may happen.
CHAOS_EXAMPLES=1000 looks further, at random.
"""

import gzip
import itertools
import json
import os
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from unittest import mock
from uuid import UUID

import hypothesis
from django.core.files.storage import default_storage
from django.db import transaction
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs import calls, services
from jobs.calls import JobClaim
from jobs.errors import JobStateError, UpstreamError
from jobs.models import Attempt, Event, Job, Region, Worker
from jobs.scheduling import dispatch, leases, pending_work
from jobs.scheduling.claims import Permit
from jobs.state import ALLOWED_TRANSITIONS, FINAL, JobStatus
from tests.support.engine import Engine
from tests.support.fake_backend import FakeBackend, document
from transcripts import services as transcripts
from transcripts import storage
from transcripts.models import Transcript
from transcripts.outcomes import adoption

EXAMPLES = os.environ.get("CHAOS_EXAMPLES")
LEASE_SECONDS = 60  # nothing runs out by itself: losing a lease is a step
SLOTS = 4


def error(failure: str) -> UpstreamError:
    return UpstreamError("no", code=f"upstream_{failure}", failure=failure, status=500)


ANSWERS = {
    "ok": document(),
    "suspect": document(text=""),
    "nonsense": {"unexpected": True},
    **{
        failure: error(failure)
        for failure in (
            "rate_limited",
            "unavailable",
            "unreachable",
            "timeout",
            "account",
            "bad_media",
        )
    },
}


RECALLED = Event.objects.filter(type="job.queued", data__reason="recalled")


class Broker:
    """Takes messages, or is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.messages: list[tuple[str, int]] = []

    def send_task(self, _name: str, *, kwargs: dict, **_options: object) -> None:
        if self.is_away:
            raise ConnectionRefusedError
        claims = kwargs.get(
            "claims", [(kwargs.get("job_id"), kwargs.get("lease_token"))]
        )
        self.messages += [(job_id, token) for job_id, token, *_ in claims]


class EngineMachine(RuleBasedStateMachine):
    """Jobs, a dispatcher, and workers that live, die, and come back too late."""

    redis: object  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushdb()
        self.savepoint = transaction.savepoint()
        self.engine = Engine(self.redis)
        self.engine.announce(slots=SLOTS, accepts_batches=True)
        self.stored: set[str] = set()  # jobs with a result that was paid for and stored
        self.broker = Broker()
        self.calls: list[tuple[Job, Attempt]] = []
        self.dead: set[object] = set()  # attempts whose worker died in the call
        self.hand: set[str] = set()  # permits that somebody keeps alive
        self.started: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.ended: dict[str, str] = {}

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.savepoint)

    # --- customers

    @rule(
        priority=st.sampled_from([0, 6, 9]),
        max_attempts=st.integers(1, 3),
        expires=st.booleans(),
    )
    def submit(self, priority: int, max_attempts: int, expires: bool) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        self.engine.submit(
            priority=priority,
            max_attempts=max_attempts,
            expires_at=later if expires else None,
        )

    @precondition(lambda self: Job.objects.exists())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = self.draw_job(data)
        with suppress(JobStateError):
            services.cancel_job(job=job, now=datetime.now(UTC))

    @precondition(lambda self: Job.objects.exists())
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job = self.draw_job(data)
        before = Job.objects.count()
        try:
            again = services.retry_job(job=job, api_key=None, now=datetime.now(UTC))
        except JobStateError:
            assert not job.is_final
            assert Job.objects.count() == before
        else:
            assert (again.retry_of, again.status) == (job, "queued")

    # --- the dispatcher

    @rule(broker_is_away=st.booleans())
    def tick(self, broker_is_away: bool) -> None:
        self.broker.is_away = broker_is_away
        sent_before = len(self.broker.messages)
        recalled_before = set(RECALLED.values_list("pk", flat=True))
        with mock.patch.object(dispatch, "_celery", autospec=True) as celery:
            celery.return_value = self.broker
            self.engine.tick()
        for event in RECALLED.exclude(pk__in=recalled_before):
            token = self.tokens[str(event.job_id)]
            self.hand.discard(f"{event.job_id}.{token}")
        for job_id, token in self.broker.messages[sent_before:]:
            self.hand.add(f"{job_id}.{token}")

    @rule()
    def requeue_lost(self) -> None:
        leases.requeue_lost(now=datetime.now(UTC))
        self.dead.clear()

    # --- workers

    @precondition(lambda self: self.broker.messages)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Take a message, perhaps one that was taken before."""
        job_id, token = data.draw(st.sampled_from(self.broker.messages))
        if adoption.adopt([JobClaim(UUID(job_id), token)], holder=self.engine):
            assert Job.objects.get(pk=job_id).status in {"completed", "failed"}
            self.hand.discard(f"{job_id}.{token}")
            return
        started = calls.start_call(
            job_id=job_id, lease_token=token, worker="worker-1", now=datetime.now(UTC)
        )
        member = f"{job_id}.{token}"
        if started:
            assert job_id not in self.stored, "paid twice"
            self.calls.append(started)
            self.started[job_id] += 1
            # A heartbeat registers what it runs, also when it was forgotten.
            self.engine.permits.renew("local", [Permit(member=member)])
            self.hand.add(member)
        elif not Attempt.objects.filter(job_id=job_id, lease_token=token).exists():
            self.let_go(member)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), answer=st.sampled_from(sorted(ANSWERS)))
    def finish(self, data: st.DataObject, answer: str) -> None:
        call = data.draw(st.sampled_from(self.calls))
        self.calls.remove(call)
        job, attempt = call
        transcripts.run_calls(
            [call], holder=self.engine, backend=FakeBackend(ANSWERS[answer])
        )
        attempt.refresh_from_db()
        assert attempt.outcome in {"ok", "error"}
        self.let_go(f"{job.pk}.{job.lease_token}")

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), is_dead=st.booleans())
    def lose_a_call(self, data: st.DataObject, is_dead: bool) -> None:
        """The worker dies, or it hangs and comes back when nobody expects it."""
        call = data.draw(st.sampled_from(self.calls))
        job, attempt = call
        self.lose_lease(job)
        if is_dead:
            self.calls.remove(call)
            self.dead.add(attempt.pk)
            self.let_go(f"{job.pk}.{job.lease_token}")

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def die_after_storing(self, data: st.DataObject) -> None:
        """The worker dies between storing a result and committing it."""
        call = data.draw(st.sampled_from(self.calls))
        job, attempt = call
        self.calls.remove(call)
        result = gzip.compress(json.dumps(ANSWERS["ok"]).encode())
        storage.store_object(storage.name_of_result(attempt), result)
        self.lose_lease(job)
        leases.requeue_lost(now=datetime.now(UTC))
        self.dead.clear()
        if Job.objects.get(pk=job.pk).lease_token == job.lease_token:
            self.stored.add(str(job.pk))
        self.let_go(f"{job.pk}.{job.lease_token}")

    @precondition(lambda self: self.broker.messages)
    @rule(data=st.data())
    def lose_a_message(self, data: st.DataObject) -> None:
        """Redis forgets it; the lease of the claim runs out, and so does its permit."""
        job_id, token = data.draw(st.sampled_from(self.broker.messages))
        job = Job.objects.get(pk=job_id)
        if (job.lease_token, job.started_at) == (token, None):
            self.lose_lease(job)
            self.let_go(f"{job_id}.{token}")

    # --- time and operators

    @rule(slots=st.sampled_from([0, 1, SLOTS]), accepts_batches=st.booleans())
    def workers_come_and_go(self, slots: int, accepts_batches: bool) -> None:
        """A process leaves or comes, of this version or an older one."""
        self.engine.announce(slots=slots, accepts_batches=accepts_batches)
        if not slots:
            Worker.objects.all().delete()
        waiting = Job.objects.filter(status="processing", started_at=None)
        patience = services.lease_time() - 2 * pending_work.RECALL_AFTER
        waiting.update(lease_until=datetime.now(UTC) + patience)

    @rule()
    def waits_are_over(self) -> None:
        long_ago = datetime.now(UTC) - timedelta(seconds=1)
        Job.objects.filter(status="queued", ready=False).update(run_at=long_ago)
        Region.objects.update(paused_until=None, paused_reason="")

    @precondition(lambda self: Job.objects.filter(expires_at__isnull=False).exists())
    @rule()
    def deadlines_pass(self) -> None:
        long_ago = datetime.now(UTC) - timedelta(seconds=1)
        Job.objects.filter(expires_at__isnull=False).update(expires_at=long_ago)

    # --- what must hold

    @invariant()
    def every_job_is_consistent(self) -> None:
        transcribed = set(Transcript.objects.values_list("pk", flat=True))
        kinds: dict[object, list[str]] = {}
        for event in Event.objects.order_by("id"):
            kinds.setdefault(event.job_id, []).append(event.type.removeprefix("job."))
        for job in Job.objects.all():
            self.check(job, history=kinds[job.pk], has_transcript=job.pk in transcribed)

    def check(self, job: Job, *, history: list[str], has_transcript: bool) -> None:
        key = str(job.pk)
        assert job.is_final == (job.finished_at is not None)
        assert has_transcript == (job.status == "completed")
        assert history[0] == "queued"
        assert history[-1] == job.status
        for old, new in itertools.pairwise(history):
            assert JobStatus(new) in ALLOWED_TRANSITIONS[JobStatus(old)], history
        assert sum(kind in FINAL for kind in history) == job.is_final
        assert job.lease_token == history.count("processing")
        assert job.lease_token >= self.tokens[key]
        self.tokens[key] = job.lease_token
        assert self.ended.setdefault(key, job.status) == job.status or (
            self.ended[key] not in FINAL
        )
        self.ended[key] = job.status

    @invariant()
    def the_ledger_has_every_call_once(self) -> None:
        rows = Counter(str(pk) for pk in Attempt.objects.values_list("job", flat=True))
        assert rows == self.started
        under_way = {attempt.pk for _, attempt in self.calls}
        for attempt in Attempt.objects.filter(outcome="open"):
            assert attempt.pk in under_way | self.dead

    @invariant()
    def permits_are_those_in_hand(self) -> None:
        held = self.redis.zrange("permits:{local:prerecorded}:held", 0, -1)
        assert {member.decode() for member in held} == self.hand

    @invariant()
    def every_document_is_kept(self) -> None:
        for raw in Transcript.objects.values_list("raw", flat=True):
            assert default_storage.exists(raw)

    # --- helpers

    def draw_job(self, data: st.DataObject) -> Job:
        return data.draw(st.sampled_from(list(Job.objects.order_by("id"))))

    def lose_lease(self, job: Job) -> None:
        """Let the lease of this claim run out, if it is still this job's."""
        Job.objects.filter(
            pk=job.pk, lease_token=job.lease_token, status="processing"
        ).update(lease_until=datetime.now(UTC) - timedelta(seconds=1))

    def let_go(self, member: str) -> None:
        self.engine.permits.release("local", [Permit(member=member)])
        self.hand.discard(member)


def test_promises_hold_whatever_happens_in_whatever_order(db, broker, settings):
    settings.LEASE_SECONDS = LEASE_SECONDS
    EngineMachine.redis = broker

    run_state_machine_as_test(
        EngineMachine,
        settings=hypothesis.settings(
            max_examples=int(EXAMPLES or 15),
            stateful_step_count=40,
            derandomize=EXAMPLES is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
