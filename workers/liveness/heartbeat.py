"""The heartbeat thread of a process: renews leases, permits and the Worker row.

It uses a database connection outside the pool. While the database or Redis is
unavailable, the next heartbeat retries.
"""

import copy
import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

import redis
from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    connection,
    connections,
)
from django.utils import timezone

from jobs import calls, services
from jobs.models import Job, Worker, prepared_statements
from jobs.scheduling.claims import Permit, permit_of
from workers.liveness.liveness_writer import get_liveness_writer
from workers.liveness.process_rows import build_name
from workers.liveness.startup import shorten_switch_interval
from workers.ratelimit.permits import RedisPermits

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
_ANNOUNCE = """
INSERT INTO jobs_worker (name, queues, slots, busy, accepts_batches, seen_at)
VALUES (%(name)s, %(queues)s, %(slots)s, %(busy)s, %(accepts_batches)s, now())
ON CONFLICT (name) DO UPDATE SET queues = excluded.queues, slots = excluded.slots,
  busy = excluded.busy, accepts_batches = excluded.accepts_batches,
  seen_at = excluded.seen_at
"""


class Heartbeat:
    """Renews the leases and permits of the jobs in this process. Thread-safe."""

    def __init__(
        self,
        *,
        queues: list[str],
        slots: int,
        permits: RedisPermits,
        on_lost: Callable[[Job], None] | None = None,
        name: str = "",
        accepts_claims: Callable[[], bool] = lambda: True,
    ) -> None:
        """``name`` is that of the process, if it consumes its own queue.

        While ``accepts_claims`` returns False, the process announces no slots.

        ``on_lost`` is called once for each job whose lease was lost: it was canceled,
        or its lease expired while the database was unavailable.
        """
        self.name = name or build_name()
        self._accepts_batches = bool(name)
        self._accepts_claims = accepts_claims
        self._queues = queues
        self.slots = slots
        self._permits = permits
        self._on_lost = on_lost
        self._jobs: dict[Permit, Job] = {}
        self._reported: set[Permit] = set()
        self._lock = threading.Lock()
        self._renewed_at = 0.0
        self._is_leaving = False
        self._row = threading.Lock()

    def start(self) -> None:
        """Start the heartbeat thread, which runs until the process exits."""
        shorten_switch_interval()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def leave(self) -> None:
        """Delete the Worker row, so that no more jobs are claimed for this process.

        Running jobs are still renewed.
        """
        with self._row, _database():  # a beat in progress would insert it again
            self._is_leaving = True
            Worker.objects.filter(pk=self.name).delete()
        connection.close()

    @contextmanager
    def holding(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Renew the leases and permits of claims whose calls have not started."""
        held = {permit_of(job): job for job in jobs}
        with self._lock:
            self._jobs |= held
        try:
            yield
        finally:
            with self._lock:
                for permit in held:
                    self._jobs.pop(permit, None)

    def add(self, jobs: Sequence[Job]) -> None:
        """Renew the leases and permits of jobs until ``remove``; their calls start."""
        added = {permit_of(job): job for job in jobs}
        with self._lock:
            self._jobs |= added
        for region, permits in _by_region(added).items():
            self._permits.begin(region, permits)

    def remove(self, jobs: Sequence[Job]) -> None:
        """Stop renewing jobs and release their permits."""
        removed = {permit_of(job): job for job in jobs}
        with self._lock:
            for permit in removed:
                self._jobs.pop(permit, None)
        for region, permits in _by_region(removed).items():
            self._permits.release(region, permits)

    def beat(self) -> None:
        """Renew everything once; failures are retried at the next heartbeat."""
        with self._lock:
            jobs = dict(self._jobs)
        with _database():
            self._renew_rows(jobs)
        by_region = _by_region(jobs)
        try:
            for region, permits in by_region.items():
                self._permits.renew(region, permits)
        except redis.RedisError:
            logger.warning("permits not renewed")
        self._release_removed(by_region)

    def _release_removed(self, renewed: Mapping[str, list[Permit]]) -> None:
        """Release permits removed during the renewal, which registered them again."""
        with self._lock:
            current = set(self._jobs)
        for region, permits in renewed.items():
            if removed := [permit for permit in permits if permit not in current]:
                self._permits.release(region, removed)

    def _renew_rows(self, jobs: dict[Permit, Job]) -> None:
        if jobs and (self._on_lost or self._is_renewal_due(jobs)):
            ids = [job.pk for job in jobs.values()]
            owned = calls.renew_leases(ids, worker=self.name)
            self._renewed_at = time.monotonic()
            self._report_lost(jobs, owned=owned)
        with self._row:
            if not self._is_leaving:
                self._announce(busy=len(jobs))

    def _announce(self, *, busy: int) -> None:
        slots = self.slots if self._accepts_claims() else 0
        prepared_statements.fetch(
            _ANNOUNCE,
            {
                "name": self.name,
                "queues": json.dumps(self._queues),
                "slots": slots,
                "busy": busy,
                "accepts_batches": self._accepts_batches,
            },
        )

    def _is_renewal_due(self, jobs: Mapping[Permit, Job]) -> bool:
        """Return whether a lease is a third over; calls usually end before that.

        All leases are renewed together. New ones are full.
        """
        due_at = self._renewed_at + settings.LEASE_SECONDS / 3
        if time.monotonic() < due_at:
            return False
        renew_before = timezone.now() + 2 / 3 * services.lease_time()
        leases = (job.lease_until for job in jobs.values())
        return any(lease and lease < renew_before for lease in leases)

    def _report_lost(self, jobs: dict[Permit, Job], *, owned: set[UUID]) -> None:
        if self._on_lost is None:
            return
        for permit, job in jobs.items():
            with self._lock:
                is_current = self._jobs.get(permit) is job
            if is_current and job.pk not in owned and permit not in self._reported:
                self._reported.add(permit)
                self._on_lost(job)
        self._reported.intersection_update(jobs)

    def _run(self) -> None:
        leave_pool()
        interval = min(BEAT_SECONDS, settings.LEASE_SECONDS / 3)
        while True:
            try:
                self.beat()
            except Exception:  # without the heartbeat every running call is lost
                logger.exception("heartbeat failed")
            get_liveness_writer().mark("leases")
            time.sleep(interval)


def _by_region(jobs: Mapping[Permit, Job]) -> dict[str, list[Permit]]:
    by_region: dict[str, list[Permit]] = defaultdict(list)
    for permit, job in jobs.items():
        by_region[job.region_id or ""].append(permit)
    return by_region


@contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, InterfaceError):
        logger.warning("heartbeat could not reach the database")
        connection.close()


def leave_pool() -> None:
    """Give this thread its own connection outside the pool.

    An exhausted pool, or its backoff while the database is unavailable, would delay the
    renewal past the leases' expiry.
    """
    own = connections.create_connection(DEFAULT_DB_ALIAS)
    own.settings_dict = copy.deepcopy(own.settings_dict)
    own.settings_dict["OPTIONS"].pop("pool", None)
    connections[DEFAULT_DB_ALIAS] = own
