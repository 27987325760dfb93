"""A job with all that a page can show of one."""

import json
from datetime import timedelta

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from jobs.models import Attempt, Batch, Event, Job
from tests.support.factories import (
    make_attempt,
    make_job,
    make_tenant,
    make_transcript,
    make_wav,
)
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint

AUDIO = make_wav(4.0)
WORDS = [
    "Good",
    "morning",
    "this",
    "is",
    "the",
    "office",
    "how",
    "can",
    "I",
    "help",
    "you",
    "today",
]


def build_document():
    words = [
        {
            "word": word.lower(),
            "punctuated_word": word,
            "start": number * 0.3,
            "end": number * 0.3 + 0.28,
            "confidence": 0.4 if number == 4 else 0.98,
            "speaker": number // 7,
        }
        for number, word in enumerate(WORDS)
    ]
    best = {"transcript": " ".join(WORDS), "confidence": 0.97, "words": words}
    return {
        "metadata": {"duration": 4.0, "request_id": "dg-2"},
        "results": {"channels": [{"alternatives": [best]}]},
    }


def make_rich_job():
    """Return it: a batch's, tried twice, told of twice, its times in the past."""
    begin = timezone.now() - timedelta(minutes=2)

    def at(seconds):
        return begin + timedelta(seconds=seconds)

    tenant = make_tenant(name="Acme")
    name = default_storage.save("uploads/rich.wav", ContentFile(AUDIO))
    job = make_job(
        tenant,
        status="completed",
        upload=name,
        filename="call-17.wav",
        content_type="audio/wav",
        size_bytes=len(AUDIO),
        duration_seconds=4.0,
        callback_url="https://acme.example/done?token=SECRET",
        metadata={"order": 17},
        options={"diarize": True, "language": "en"},
        custom_id="call-17",
    )
    batch = Batch.objects.create(tenant=tenant, total=2)
    Job.objects.filter(pk=job.pk).update(
        batch=batch, line=3, created_at=begin, finished_at=at(9), attempt=2
    )
    moves = [(0, "queued"), (1, "processing"), (4, "queued"), (6, "processing")]
    Event.objects.filter(job=job).delete()
    for seconds, status in [*moves, (9, "completed")]:
        Event.objects.create(
            tenant=tenant,
            job=job,
            type=f"job.{status}",
            created_at=at(seconds),
            fanned_out_at=at(seconds),
        )
    for start, end, more in [
        (1.2, 4, {"outcome": "error", "status_code": 503, "error_code": "unavailable"}),
        (6.1, 8.9, {"outcome": "ok", "status_code": 200}),
    ]:
        made = make_attempt(job, at=at(start), request_id=f"dg-{start}", **more)
        Attempt.objects.filter(pk=made.pk).update(finished_at=at(end), worker="w1")
    make_transcript(job, json.dumps(build_document()).encode())
    _make_delivery(job, at)
    job.refresh_from_db()
    return job


def _make_delivery(job, at):
    url = "https://hooks.acme.example/in?key=SECRET"
    endpoint = WebhookEndpoint.objects.create(tenant=job.tenant, url=url)
    delivery = WebhookDelivery.objects.create(
        tenant=job.tenant,
        job=job,
        event=job.events.get(type="job.completed"),
        endpoint=endpoint,
        target=endpoint.pk.hex,
        status="delivered",
        body=b"{}",
        attempts=2,
        created_at=at(9),
        finished_at=at(15),
    )
    for number, start, status in [(1, 9.2, 500), (2, 14.6, 200)]:
        DeliveryAttempt.objects.create(
            delivery=delivery,
            claim_token=number,
            started_at=at(start),
            duration_ms=400,
            status_code=status,
            response_excerpt="private answer",
        )
