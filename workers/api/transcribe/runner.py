"""Run a job's call in this process, for somebody who waits, by the engine of all doors.

A call goes on to its end whether or not anybody still waits: giving it up would pay for
it twice. A job that finds no place in time is the queue's, as if it had come there.
"""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from threading import Lock

from django.conf import settings
from django.db import connection
from django.utils import timezone

from jobs.concurrency import thread_limits
from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.errors import StaleJobState
from jobs.models import Attempt, Job
from jobs.scheduling import direct_claims, dispatch
from jobs.state import JobStatus
from jobs.telemetry import log_context, tracing
from transcripts import services
from transcripts.backends import get_backend
from workers.liveness.heartbeat import Heartbeat
from workers.ratelimit.permits import RedisPermits, get_permits

logger = logging.getLogger(__name__)

# Between two looks for a free place: at first, and at most.
LOOK_SECONDS = 0.05
MAX_LOOK_SECONDS = 0.5
# The queue has a job this long after the last look of a process that died at its door.
HELD_FOR_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRunner:
    """What a process needs to run calls: made at the first one, so after any fork."""

    gate: FairSemaphore
    heartbeat: Heartbeat
    permits: RedisPermits
    threads: ThreadPoolExecutor

    def run(self, job: Job, *, seconds: float) -> bool:
        """Run the job, and wait for it so long; return whether its run has ended.

        An ended run need not have completed the job: its row says what became of it.
        Too many at once, and the job is queued without waiting.
        """
        with thread_limits.reserve_waiting_thread(job.tenant_id) as may_wait:
            if not may_wait or not self.gate.acquire(job.tenant_id):
                release_to_queue(job)
                return True
            give_up = time.monotonic() + seconds
            future = self.threads.submit(self._run, job, give_up=give_up)
            # Waiting must not keep a connection from those who work.
            if not connection.in_atomic_block:
                connection.close()
            return _has_ended(future, within=give_up - time.monotonic())

    def _run(self, job: Job, *, give_up: float) -> None:
        with (
            log_context.adding(**log_context.fields_of(job)),
            tracing.joined(job.traceparent),
        ):
            self._run_traced(job, give_up=give_up)

    def _run_traced(self, job: Job, *, give_up: float) -> None:
        try:
            # Before the claim: what is loaded the first time would take from the lease.
            backend = get_backend()
            with tracing.span("claim"):
                begun = self._find_place(job, give_up=give_up)
            if begun is None:
                release_to_queue(job)
            else:
                services.run_call(*begun, holder=self.heartbeat, backend=backend)
                dispatch.wake()
        except direct_claims.NoCapacitySoon:
            release_to_queue(job)
        except StaleJobState:
            logger.info("job taken by the queue")
        except Exception:
            # Its lease, or its run_at, brings the job back.
            logger.exception("synchronous run failed")
        finally:
            self.gate.release(job.tenant_id)
            connection.close()

    def _find_place(self, job: Job, *, give_up: float) -> tuple[Job, Attempt] | None:
        pause = LOOK_SECONDS
        while True:
            begun = direct_claims.claim_directly(
                job,
                permits=self.permits,
                worker=self.heartbeat.name,
                now=timezone.now(),
            )
            if begun or time.monotonic() + pause > give_up:
                return begun
            hold_back(job)
            connection.close()
            time.sleep(pause)
            pause = min(MAX_LOOK_SECONDS, pause * 1.5)


def hold_back(job: Job) -> None:
    """Keep the queue from a job whose caller still waits here."""
    until = timezone.now() + timedelta(seconds=HELD_FOR_SECONDS)
    Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED, ready=False).update(
        run_at=until
    )


def release_to_queue(job: Job) -> None:
    """Let the dispatcher have a job that waits at the door."""
    Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED, ready=False).update(
        ready=True, run_at=None
    )
    dispatch.wake()


_making = Lock()


def get_runner() -> CallRunner:
    """Return this process's runner; two first callers get the same."""
    with _making:
        return _make_runner()


@cache
def _make_runner() -> CallRunner:
    permits = get_permits()
    heartbeat = Heartbeat(queues=[], slots=0, permits=permits)
    heartbeat.start()
    places = settings.SYNC_MAX_IN_FLIGHT
    return CallRunner(
        gate=FairSemaphore(places),
        heartbeat=heartbeat,
        permits=permits,
        threads=ThreadPoolExecutor(places, thread_name_prefix="sync"),
    )


def _has_ended(future: Future[None], *, within: float) -> bool:
    try:
        future.result(timeout=max(0.0, within))
    except TimeoutError:
        return False
    return True
