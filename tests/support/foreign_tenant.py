"""Another tenant's things, one for each kind of id that a route takes.

``tests/integration/api/test_foreign_tenant.py`` walks every route with these; an id of a
kind that is not here fails it until a maker is added.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from jobs.accounts import audit
from jobs.batches import records
from jobs.models import Event, Tenant
from jobs.services import JobDraft
from tests.support import batches
from tests.support.factories import make_attempt, make_job, make_key, make_transcript
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)

RAW = json.dumps({"metadata": {}, "results": {"channels": []}}).encode()
Made = dict[str, Any]


def make_all(tenant: Tenant) -> Made:
    """Make one of everything; return the ids by the names that routes give them."""
    made: Made = {}
    for name, make in MAKERS.items():
        made[name] = make(tenant, made)
    audit.record(
        type="tenant.paused", actor="admin:ada", at=timezone.now(), tenant=tenant
    )
    return made


def _job(tenant: Tenant, _made: Made) -> Any:
    job = make_job(
        tenant,
        status="completed",
        upload=default_storage.save("audio/theirs.wav", ContentFile(b"RIFF")),
        metadata={"whose": tenant.name},
    )
    make_attempt(job)
    make_transcript(job, RAW, text="their secret words")
    return job.pk


def _batch(tenant: Tenant, _made: Made) -> Any:
    draft = records.BatchDraft(
        jobs=[JobDraft(audio_url="https://audio.example.com/b.wav")],
        metadata={"whose": tenant.name},
    )
    return batches.submit_batch(
        tenant=tenant, api_key=None, draft=draft, now=timezone.now()
    ).pk


def _endpoint(tenant: Tenant, _made: Made) -> Any:
    url = f"https://{tenant.name}.example.com/hook"
    return WebhookEndpoint.objects.create(tenant=tenant, url=url).pk


def _delivery(tenant: Tenant, made: Made) -> Any:
    delivery = WebhookDelivery.objects.create(
        tenant=tenant,
        event=Event.objects.filter(job_id=made["job_id"], type="job.completed").get(),
        job_id=made["job_id"],
        endpoint_id=made["endpoint_id"],
        target=made["endpoint_id"].hex,
        status=WebhookDelivery.Status.FAILED,
        attempts=1,
        created_at=timezone.now(),
        finished_at=timezone.now(),
    )
    DeliveryAttempt.objects.create(
        delivery=delivery,
        claim_token=1,
        started_at=timezone.now(),
        duration_ms=5,
        status_code=500,
        response_excerpt="their receiver's words",
    )
    return delivery.pk


def _recovery(_tenant: Tenant, made: Made) -> Any:
    now = timezone.now()
    return WebhookRecovery.objects.create(
        endpoint_id=made["endpoint_id"],
        since=now - timedelta(days=1),
        until=now,
        created_at=now,
    ).pk


# In this order: a delivery needs what stands above it.
MAKERS: dict[str, Callable[[Tenant, Made], Any]] = {
    "job_id": _job,
    "batch_id": _batch,
    "key_id": lambda tenant, _made: make_key(tenant)[0].public_id,
    "endpoint_id": _endpoint,
    "delivery_id": _delivery,
    "number": lambda _tenant, _made: 1,  # of a delivery's attempt
    "recovery_id": _recovery,
}
# What a route needs in its body to get as far as looking for its row.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/recover"): {
        "since": (timezone.now() - timedelta(hours=1)).isoformat(),
    },
}
