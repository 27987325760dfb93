"""The dispatcher and a worker, one step at a time."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import redis
from django.db import connection
from django.db.models.functions import Now

from jobs import services
from jobs.calls import JobClaim
from jobs.models import Job, Region, Tenant, Worker
from jobs.scheduling import dispatch
from jobs.scheduling.claims import permit_of
from transcripts.services import transcribe_claims
from workers.ratelimit.permits import RedisPermits

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Engine:
    """The dispatcher and a worker, one step at a time."""

    name = "worker-1"

    def __init__(self, broker: redis.Redis) -> None:
        self.broker = broker
        self.permits = RedisPermits(broker)
        self.tenant = Tenant.objects.create(name="acme")
        self.region = Region.objects.create(
            name="local", base_url="http://127.0.0.1:1", max_concurrent=5
        )
        self.held: list[Job] = []
        self.looked_up: list[Job] = []
        self.lock = threading.Lock()
        self.announce(slots=10)

    def announce(
        self, *, slots: int, name: str = "worker-1", accepts_batches: bool = False
    ) -> None:
        Worker.objects.update_or_create(
            name=name,
            defaults={
                "queues": ["transcribe.local"],
                "slots": slots,
                "accepts_batches": accepts_batches,
                "seen_at": Now(),
            },
        )

    def submit(self, tenant: Tenant | None = None, **draft: object) -> Job:
        return services.submit_job(
            tenant=tenant or self.tenant,
            api_key=None,
            draft=services.JobDraft(audio_url="https://a.example/x.wav", **draft),
            now=datetime.now(UTC),
        )

    def tick(self, up_since: datetime = LONG_AGO) -> dispatch.TickResult:
        return dispatch.tick(permits=self.permits, up_since=up_since)

    def run(self, job: Job, backend: object, lease_token: int | None = None) -> bool:
        job.refresh_from_db()
        claim = JobClaim(job.pk, lease_token or job.lease_token)
        return bool(transcribe_claims([claim], holder=self, backend=backend))

    @contextmanager
    def holding(self, jobs: Sequence[Job]) -> Iterator[None]:
        self.looked_up += jobs
        yield

    def add(self, jobs: Sequence[Job]) -> None:
        with self.lock:
            self.held += jobs

    def remove(self, jobs: Sequence[Job]) -> None:
        self.permits.release("local", [permit_of(job) for job in jobs])

    def lose_lease(self, job: Job) -> None:
        Job.objects.filter(pk=job.pk).update(
            lease_until=datetime.now(UTC) - timedelta(seconds=1)
        )

    def sent(self) -> int:
        return sum(
            self.broker.llen(key)
            for key in self.broker.keys("transcribe:transcribe.local*")
        )

    def permits_held(self) -> int:
        return self.broker.zcard("permits:{local:prerecorded}:held")


def wait_for_server_age(*, seconds: float) -> None:
    """Nothing is taken back before PostgreSQL itself was up for a lease."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_sleep(greatest(0, %s - extract(epoch from"
            " clock_timestamp() - pg_postmaster_start_time())))",
            [seconds],
        )
