"""Run jobs in this process for waiting clients, with the same service as the worker.

A call continues after its client stops waiting, because repeating it would cost twice.
A job without a permit in time is released to the queue.
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
from transcripts.outcomes import result_storage
from workers.liveness.heartbeat import Heartbeat
from workers.ratelimit.permits import RedisPermits, get_permits

logger = logging.getLogger(__name__)

# The pause between two tries to get a permit: the first, and the longest.
POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 0.5
# A job of a killed process is released to the queue this long after the last try.
HELD_FOR_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRunner:
    """The shared resources of calls in a process, built at first use, after a fork."""

    gate: FairSemaphore
    heartbeat: Heartbeat
    permits: RedisPermits
    threads: ThreadPoolExecutor

    def run(self, job: Job, *, seconds: float) -> bool:
        """Run the job and wait at most ``seconds``; return whether its run has ended.

        The run may end without completing the job: read its row. If too many clients
        wait, the job is queued at once.
        """
        with thread_limits.reserve_waiting_thread(job.tenant_id) as may_wait:
            if not may_wait or not self.gate.acquire(job.tenant_id):
                release_to_queue(job)
                return True
            deadline = time.monotonic() + seconds
            future = self.threads.submit(self._run, job, deadline=deadline)
            # A waiting thread must not occupy a database connection.
            if not connection.in_atomic_block:
                connection.close()
            return _has_ended(future, within=deadline - time.monotonic())

    def _run(self, job: Job, *, deadline: float) -> None:
        with (
            log_context.adding(**log_context.fields_of(job)),
            tracing.joined(job.traceparent),
        ):
            self._run_traced(job, deadline=deadline)

    def _run_traced(self, job: Job, *, deadline: float) -> None:
        try:
            if not result_storage.is_available():
                release_to_queue(job)
                return
            # Before the claim, because the first load would use up the lease.
            backend = get_backend()
            with tracing.span("claim"):
                claimed = self._try_claim(job, deadline=deadline)
            if claimed is None:
                release_to_queue(job)
            else:
                services.run_calls([claimed], holder=self.heartbeat, backend=backend)
        except direct_claims.NoCapacitySoon:
            release_to_queue(job)
        except StaleJobState:
            logger.info("job claimed by the queue")
        except Exception:
            # The job is requeued when its lease or its run_at passes.
            logger.exception("synchronous run failed")
        finally:
            self.gate.release(job.tenant_id)
            connection.close()

    def _try_claim(self, job: Job, *, deadline: float) -> tuple[Job, Attempt] | None:
        pause = POLL_SECONDS
        while True:
            claimed = direct_claims.claim_directly(
                job,
                permits=self.permits,
                worker=self.heartbeat.name,
                now=timezone.now(),
            )
            if claimed or time.monotonic() + pause > deadline:
                return claimed
            extend_hold(job)
            connection.close()
            time.sleep(pause)
            pause = min(MAX_POLL_SECONDS, pause * 1.5)


def extend_hold(job: Job) -> None:
    """Withhold the job from the queue for another HELD_FOR_SECONDS."""
    until = timezone.now() + timedelta(seconds=HELD_FOR_SECONDS)
    Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED, ready=False).update(
        run_at=until
    )


def release_to_queue(job: Job) -> None:
    """Let the dispatcher claim a withheld job."""
    Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED, ready=False).update(
        ready=True, run_at=None
    )
    dispatch.wake()


_runner_lock = Lock()


def get_runner() -> CallRunner:
    """Return the process's runner, built at the first call."""
    with _runner_lock:
        return _build_runner()


@cache
def _build_runner() -> CallRunner:
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
