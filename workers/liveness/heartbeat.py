"""One heartbeat thread a process: it renews what the process holds.

Leases (rows), permits (Redis) and the process's own Worker row. When the database or
Redis is away, the next beat tries again, on a connection that is nobody else's.
"""

import copy
import logging
import os
import secrets
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
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
from django.db.models.functions import Now

from jobs import services
from jobs.models import Job, Worker
from jobs.scheduling.claims import Permit, permit_of
from workers.liveness.liveness_writer import get_liveness_writer
from workers.liveness.startup import switch_threads_often
from workers.ratelimit.permits import RedisPermits

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0


class Heartbeat:
    """Keeps alive what this process runs; safe to use from many threads."""

    def __init__(
        self,
        *,
        queues: list[str],
        slots: int,
        permits: RedisPermits,
        on_lost: Callable[[Job], None] | None = None,
    ) -> None:
        """``on_lost`` is told of each held job that is not ours any more, once.

        It was canceled, say, or taken for lost while the database was away.
        """
        # In a container a restarted worker has the host name and pid of the dead one.
        life = secrets.token_hex(3)
        self.name = f"{socket.gethostname()}.{os.getpid()}.{life}"
        self._queues = queues
        self._slots = slots
        self._permits = permits
        self._on_lost = on_lost
        self._held: dict[Permit, Job] = {}
        self._told: set[Permit] = set()
        self._lock = threading.Lock()
        self._leaving = False

    def start(self) -> None:
        """Announce the process and begin to beat, until the process ends."""
        switch_threads_often()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def leave(self) -> None:
        """Withdraw the process's row, so that nothing more is claimed for it.

        What still runs goes on being renewed.
        """
        self._leaving = True
        with _database():
            Worker.objects.filter(pk=self.name).delete()
        connection.close()

    @contextmanager
    def hold(self, job: Job) -> Iterator[None]:
        """Keep the job's lease and permit alive for the time of the block."""
        self.take(job)
        try:
            yield
        finally:
            self.let_go(job)

    def take(self, job: Job) -> None:
        """Keep what the job's claim holds alive until it is let go."""
        permit = permit_of(job)
        with self._lock:
            self._held[permit] = job
        self._permits.begin(job.region_id or "", permit)

    def let_go(self, job: Job) -> None:
        """Give the claim's permit back."""
        permit = permit_of(job)
        with self._lock:
            self._held.pop(permit, None)
        self._permits.release(job.region_id or "", [permit])

    def beat(self) -> None:
        """Renew everything once; what is away is tried again at the next beat."""
        with self._lock:
            held = dict(self._held)
        with _database():
            self._renew_rows(held)
        by_region: dict[str, list[Permit]] = defaultdict(list)
        for permit, job in held.items():
            by_region[job.region_id or ""].append(permit)
        try:
            for region, permits in by_region.items():
                self._permits.renew(region, permits)
        except redis.RedisError:
            logger.warning("permits not renewed")
        self._release_what_went(by_region)

    def _release_what_went(self, renewed: Mapping[str, list[Permit]]) -> None:
        """Give back again what was let go while it was renewed: that registers anew."""
        with self._lock:
            held = set(self._held)
        for region, permits in renewed.items():
            if gone := [permit for permit in permits if permit not in held]:
                self._permits.release(region, gone)

    def _renew_rows(self, held: dict[Permit, Job]) -> None:
        if held:
            ids = [job.pk for job in held.values()]
            ours = services.renew_leases(ids, worker=self.name)
            self._tell_of_lost(held, ours=ours)
        if self._leaving:
            return
        Worker.objects.update_or_create(
            name=self.name,
            defaults={
                "queues": self._queues,
                "slots": self._slots,
                "busy": len(held),
                "seen_at": Now(),
            },
        )

    def _tell_of_lost(self, held: dict[Permit, Job], *, ours: set[UUID]) -> None:
        if self._on_lost is None:
            return
        for permit, job in held.items():
            with self._lock:
                is_held = self._held.get(permit) is job and permit not in self._told
            if is_held and job.pk not in ours:
                self._told.add(permit)
                self._on_lost(job)
        self._told.intersection_update(held)

    def _run(self) -> None:
        leave_pool()
        interval = min(BEAT_SECONDS, settings.LEASE_SECONDS / 3)
        while True:
            try:
                self.beat()
            except Exception:  # a dead heartbeat would cost every running call
                logger.exception("heartbeat failed")
            get_liveness_writer().mark("leases")
            time.sleep(interval)


@contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, InterfaceError):
        logger.warning("heartbeat could not reach the database")
        connection.close()


def leave_pool() -> None:
    """Give this thread a connection of its own.

    A pool that is empty, or that waits longer and longer for a database that is away,
    would cost the leases of everything that runs here.
    """
    own = connections.create_connection(DEFAULT_DB_ALIAS)
    own.settings_dict = copy.deepcopy(own.settings_dict)
    own.settings_dict["OPTIONS"].pop("pool", None)
    connections[DEFAULT_DB_ALIAS] = own
