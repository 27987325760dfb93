"""Transcribe, then deliver: two tasks that retry by themselves, or one leaner task."""

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx
from celery import shared_task
from deepgram import DeepgramClient, DeepgramClientEnvironment
from deepgram.core.api_error import ApiError
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from standardwebhooks import Webhook

from tests.bench.peer.models import Job, LeanTranscript, Transcript


@cache
def get_deepgram() -> DeepgramClient:
    """Return this process's client."""
    base = settings.DEEPGRAM_BASE_URL
    socket = base.replace("http", "ws", 1)
    environment = DeepgramClientEnvironment(
        base=base, production=socket, agent=socket, agent_rest=base
    )
    http = httpx.Client(
        limits=httpx.Limits(max_connections=200, max_keepalive_connections=200),
        timeout=httpx.Timeout(600, connect=5),
        trust_env=False,
    )
    return DeepgramClient(api_key="bench", environment=environment, httpx_client=http)


@cache
def get_http() -> httpx.Client:
    """Return this process's client for webhooks."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    return httpx.Client(timeout=15, limits=limits, trust_env=False)


@cache
def get_signer() -> Webhook:
    """Return what signs."""
    return Webhook(settings.WEBHOOK_SECRET)


@shared_task(
    autoretry_for=(ApiError, httpx.HTTPError),
    retry_backoff=True,
    retry_jitter=True,
    max_retries=5,
)
def transcribe(job_id: str) -> None:
    """Have Deepgram transcribe the job and keep the document."""
    job = Job.objects.get(pk=job_id)
    text, document = call_deepgram(job.audio_url)
    with transaction.atomic():
        Transcript.objects.update_or_create(
            job=job,
            defaults={"text": text, "document": document},
        )
        Job.objects.filter(pk=job.pk).update(
            status="completed", finished_at=timezone.now()
        )
        if job.callback_url:
            transaction.on_commit(lambda: deliver.delay(job_id))


@shared_task(
    autoretry_for=(httpx.HTTPError,),
    retry_backoff=True,
    retry_jitter=True,
    max_retries=9,
)
def deliver(job_id: str) -> None:
    """Tell the customer."""
    job = Job.objects.select_related("transcript").defer("transcript__document")
    found = job.get(pk=job_id)
    send_webhook(found.callback_url, job_id, found.transcript.text)
    Job.objects.filter(pk=found.pk).update(delivered_at=timezone.now())


@shared_task(
    autoretry_for=(ApiError, httpx.HTTPError),
    retry_backoff=True,
    retry_jitter=True,
    max_retries=5,
)
def transcribe_and_deliver(job_id: str, audio_url: str, callback_url: str) -> None:
    """Have Deepgram transcribe the audio, keep the document and tell the customer."""
    text, document = call_deepgram(audio_url)
    LeanTranscript.objects.update_or_create(
        id=job_id, defaults={"text": text, "document": document}
    )
    if callback_url:
        send_webhook(callback_url, job_id, text)


def call_deepgram(audio_url: str) -> tuple[str, dict[str, Any]]:
    """Return the text and the whole document."""
    answer = get_deepgram().listen.v1.media.transcribe_url(
        url=audio_url, model="nova-3", smart_format=True
    )
    text = answer.results.channels[0].alternatives[0].transcript
    return text or "", answer.model_dump(mode="json")


def send_webhook(url: str, job_id: str, text: str) -> None:
    """Send a signed webhook."""
    now = datetime.now(UTC)
    message = {
        "type": "job.completed",
        "timestamp": now.isoformat(),
        "data": {"id": job_id, "status": "completed", "result": {"text": text}},
    }
    body = json.dumps(message, separators=(",", ":"))
    message_id = f"msg_{job_id.replace('-', '')}"
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": get_signer().sign(message_id, now, body),
    }
    get_http().post(url, content=body.encode(), headers=headers).raise_for_status()
