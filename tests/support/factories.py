"""Rows and files for tests: plain functions with defaults."""

import gzip
import io
import itertools
import json
import math
import wave
from array import array
from datetime import datetime, timedelta
from typing import Any

import av
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from jobs import services
from jobs.accounts.authentication import create_api_key
from jobs.models import ApiKey, Attempt, Job, Region, Tenant
from jobs.state import FINAL, JobStatus
from transcripts import documents
from transcripts.models import Transcript
from transcripts.search import indexing

_numbers, _frames = itertools.count(1), itertools.count(1)


def make_tenant(**fields: Any) -> Tenant:
    name = fields.pop("name", f"tenant-{next(_numbers)}")
    return Tenant.objects.create(name=name, **fields)


def make_key(tenant: Tenant | None = None, **fields: Any) -> tuple[ApiKey, str]:
    """Return the row and the text of a new key."""
    return create_api_key(tenant=tenant or make_tenant(), **fields)


def make_region(name: str = "local", **fields: Any) -> Region:
    fields.setdefault("base_url", "http://127.0.0.1:1")
    return Region.objects.get_or_create(name=name, defaults=fields)[0]


def make_job(
    tenant: Tenant | None = None, *, status: str = JobStatus.QUEUED, **draft: Any
) -> Job:
    """Submit a job and bring it to a status the way the platform would."""
    now = timezone.now()
    if "upload" not in draft:
        draft.setdefault("audio_url", "https://audio.example.com/a.wav")
    job = services.submit_job(
        tenant=tenant or make_tenant(),
        api_key=None,
        draft=services.JobDraft(**draft),
        now=now,
    )
    if status in {JobStatus.PROCESSING, JobStatus.COMPLETED, JobStatus.FAILED}:
        job = move_job(
            job,
            JobStatus.PROCESSING,
            region=make_region(),
            lease_token=1,
            lease_until=now + timedelta(seconds=30),
        )
    if status in FINAL:
        failed = {"error_code": "upstream_error", "error_detail": "It failed."}
        job = move_job(
            job, JobStatus(status), **(failed if status == JobStatus.FAILED else {})
        )
    return job


def move_job(job: Job, to: JobStatus, **changes: Any) -> Job:
    rows = Job.objects.filter(pk=job.pk)
    (moved,) = services.advance(rows, to=to, at=timezone.now(), **changes)
    return moved


def make_attempt(
    job: Job, *, at: datetime | None = None, outcome: str = "ok", **facts: Any
) -> Attempt:
    """Write a call into the ledger as the engine does."""
    at = at or timezone.now()
    spent = {"audio_seconds": 60.0, "cost_estimate": "0.0043"}
    facts = {
        "region": make_region(),
        "model": job.options["model"],
        "lease_token": job.attempts.count() + 1,
        **(spent if outcome == "ok" else {}),
        **facts,
    }
    return Attempt.objects.create(
        job=job,
        tenant=job.tenant,
        outcome=outcome,
        started_at=at,
        finished_at=None if outcome == "open" else at,
        **facts,
    )


def make_transcript(job: Job, raw: bytes, **fields: Any) -> Transcript:
    """Store a document as the engine does, and the row that names it."""
    name = default_storage.save(
        f"raw/{job.pk}.json.gz", ContentFile(gzip.compress(raw))
    )
    facts = {
        "text": "hello world",
        "language": "en",
        "model": "general-nova-3",
        "confidence": 0.9,
        "duration_seconds": 2.5,
        "channels": 1,
        "words": 2,
        "request_id": "req-1",
    }
    summary = documents.parse_summary(json.loads(raw))
    facts["starts"] = summary.starts if summary else b""
    transcript = Transcript.objects.create(
        job=job, raw=name, is_indexed=True, **{**facts, **fields}
    )
    indexing.index_transcript(transcript, job)
    return transcript


def make_wav(
    seconds: float = 0.5, *, rate: int = 8000, channels: int = 1, volume: int = 9000
) -> bytes:
    """Return a WAV file with a tone in it."""
    frames = int(seconds * rate)
    tone = [int(volume * math.sin(440 * math.tau * n / rate)) for n in range(frames)]
    samples = array("h", [value for value in tone for _ in range(channels)])
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(channels)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(samples.tobytes())
    return file.getvalue()


def make_audio(format_name: str, codec: str, *, seconds: float = 4.0) -> bytes:
    """Return a tone in any container and codec that FFmpeg writes."""
    rate = 48000 if codec == "libopus" else 16000
    file = io.BytesIO()
    with av.open(file, "w", format=format_name) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        to_codec = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        tone = [int(9000 * math.sin(440 * math.tau * n / rate)) for n in range(rate)]
        for second in range(int(seconds)):
            frame = av.AudioFrame(format="s16", layout="mono", samples=rate)
            frame.planes[0].update(array("h", tone).tobytes())
            frame.sample_rate, frame.pts = rate, second * rate
            for ready in to_codec.resample(frame):
                container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return file.getvalue()


def make_unique_wav(seconds: float, *, channels: int = 1, rate: int = 8000) -> bytes:
    """Return a WAV that no other test has, so that no count is shared."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as wav:
            wav.setnchannels(channels)
            wav.setsampwidth(2)
            wav.setframerate(rate)
            frame = next(_frames).to_bytes(2, "little") * channels
            wav.writeframes(frame * int(seconds * rate))
        return file.getvalue()
