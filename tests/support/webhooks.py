"""Webhooks without processes: a tenant, a moved clock, the steps by hand."""

from datetime import UTC, datetime, timedelta

from django.utils import timezone

from jobs.models import Event, Job, Tenant, Worker
from jobs.state import JobStatus
from tests.support.factories import make_job, make_tenant
from transcripts.models import Transcript
from workers.webhooks.delivery import (
    dispatch,
    endpoint_health,
    fan_out,
    services,
    transport,
)
from workers.webhooks.delivery.loading import DeliveryClaim
from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class World:
    """A tenant, a moved clock, and the dispatcher and workers one step at a time."""

    def __init__(self) -> None:
        self.now = START
        self.tenant = Tenant.objects.create(name="acme")

    def clock(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def announce(
        self, *, slots: int = 20, name: str = "hooks-1", accepts_batches: bool = True
    ) -> None:
        Worker.objects.update_or_create(
            name=name,
            defaults={
                "queues": ["webhooks"],
                "slots": slots,
                "accepts_batches": accepts_batches,
                "seen_at": self.now,
            },
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

    def tick(self, **options) -> list[DeliveryClaim]:
        return dispatch.tick(now=self.now, up_since=LONG_AGO, **options)

    def claim(self) -> list[DeliveryClaim]:
        self.announce()
        endpoint_health.release_held(now=self.now)
        return dispatch.claim(now=self.now)

    def attempt(self, *claims: DeliveryClaim, **options) -> transport.PostResult | None:
        """Make the attempts; return the result of the last, None if it was stale."""
        results = services.deliver(
            claims, clock=self.clock, draw=lambda: 0.5, **options
        )
        return results[-1] if results else None

    def run(self) -> int:
        """Attempt all that is due; return how many there were."""
        claims = self.claim()
        for claim in claims:
            self.attempt(claim)
        return len(claims)


def make_due(world: World, number: int, **endpoint) -> WebhookEndpoint:
    """Give a new endpoint so many due deliveries, in two statements."""
    target = world.endpoint(**endpoint)
    events = Event.objects.bulk_create(
        Event(
            tenant=target.tenant,
            type="job.completed",
            created_at=START,
            fanned_out_at=START,
        )
        for _ in range(number)
    )
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            tenant=target.tenant,
            event=event,
            endpoint=target,
            target=target.pk.hex,
            next_attempt_at=START,
            created_at=START,
        )
        for event in events
    )
    return target


def open_circuit(world: World, number: int = 5, **fields) -> WebhookEndpoint:
    """Give an endpoint whose circuit has just opened so many due deliveries."""
    fields = {
        "failures": 10,
        "failing_since": START,
        "trial_wait_seconds": 60,
        "trial_at": START + timedelta(seconds=60),
    } | fields
    return make_due(world, number, **fields)


def answering(status: int):
    return lambda *_arguments, **_options: PostResult(status_code=status)


def outcomes(delivery: WebhookDelivery) -> list[int | str]:
    log = DeliveryAttempt.objects.filter(delivery=delivery).order_by("claim_token")
    return [attempt.status_code or attempt.error for attempt in log]


def make_endpoint(**fields):
    fields = {"tenant": make_tenant(), "url": "https://hooks.example/"} | fields
    return WebhookEndpoint.objects.create(**fields)


def make_delivery(job=None, **fields):
    job = job or make_job(status="completed")
    now = timezone.now()
    fields = {
        "endpoint": make_endpoint(tenant=job.tenant),
        "event": job.events.get(type=f"job.{job.status}"),
        "status": "failed",
        "body": b"{}",
        "attempts": 1,
        "created_at": now,
        "finished_at": now,
    } | fields
    return WebhookDelivery.objects.create(
        tenant=job.tenant, job=job, target=fields["endpoint"].pk.hex, **fields
    )
