import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from jobs.models import Event, Job, Tenant, Worker
from jobs.state import JobStatus
from tests.support.webhook_receiver import Receiver, Reply
from transcripts.models import Transcript
from workers.webhooks.delivery import (
    dispatch,
    endpoint_health,
    fan_out,
    services,
    transport,
)
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings) -> Iterator[None]:
    settings.EGRESS_ALLOW = LOOPBACK
    settings.WEBHOOK_TIMEOUT_SECONDS = 5
    yield
    transport.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Receiver]]:
    """Start receivers that end with the test."""
    receivers: list[Receiver] = []

    def start(*replies: Reply) -> Receiver:
        receivers.append(Receiver(*replies))
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.close()


class World:
    """A tenant, a moved clock, and the dispatcher and workers one step at a time."""

    def __init__(self) -> None:
        self.now = START
        self.tenant = Tenant.objects.create(name="acme")

    def clock(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def announce(self, *, slots: int = 20, name: str = "hooks-1") -> None:
        Worker.objects.update_or_create(
            name=name,
            defaults={"queues": ["webhooks"], "slots": slots, "seen_at": self.now},
        )

    def endpoint(
        self, url: str = "https://hooks.example/", **fields
    ) -> WebhookEndpoint:
        fields = {"tenant": self.tenant} | fields
        return WebhookEndpoint.objects.create(url=url, **fields)

    def job(self, text: str = "Hello.", **fields) -> Job:
        fields = {
            "tenant": self.tenant,
            "audio_url": "https://audio.example/a.wav",
            "status": JobStatus.COMPLETED,
            "finished_at": START,
        } | fields
        job = Job.objects.create(**fields)
        if job.status == JobStatus.COMPLETED:
            Transcript.objects.create(
                job=job, text=text, duration_seconds=1.5, channels=1, words=1, raw="r"
            )
        return job

    def event(self, job: Job | None = None, **fields) -> Event:
        job = job or self.job()
        fields = {
            "tenant": job.tenant,
            "job": job,
            "type": "job.completed",
            "created_at": START,
        } | fields
        return Event.objects.create(**fields)

    def delivery(self, url: str, **job) -> WebhookDelivery:
        """Fan an event out to a new endpoint and return the delivery."""
        endpoint = self.endpoint(url)
        self.event(self.job(**job))
        self.fan_out()
        return WebhookDelivery.objects.get(endpoint=endpoint)

    def fan_out(self) -> int:
        return fan_out.fan_out(limit=100, now=self.now)

    def claim(self) -> list[dispatch.DeliveryClaim]:
        self.announce()
        endpoint_health.release_held(now=self.now)
        return dispatch.claim(now=self.now)

    def attempt(
        self, claim: dispatch.DeliveryClaim, **options
    ) -> transport.PostResult | None:
        return services.deliver(
            delivery_id=claim.delivery_id,
            claim_token=claim.token,
            clock=self.clock,
            draw=lambda: 0.5,
            **options,
        )

    def run(self) -> int:
        """Attempt all that is due; return how many there were."""
        claims = self.claim()
        for claim in claims:
            self.attempt(claim)
        return len(claims)


@pytest.fixture
def world(db) -> World:
    return World()


def in_parallel(number: int, work: Callable[[], object]) -> list[object]:
    """Run the work in threads that begin together; a failure in one fails the test."""
    barrier = threading.Barrier(number)
    results: list[object] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            barrier.wait(10)
            results.append(work())
        except BaseException as error:  # noqa: BLE001  raised again below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    if failures:
        raise failures[0]
    return results
