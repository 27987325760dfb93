"""Examples for the OpenAPI document: the same job and batch in every operation.

A test validates each against its schema and fails for an operation without one.
"""

from typing import Any

JOB_ID = "01980a52-7c1e-7c3a-9d55-0b6f6f2f8e11"
RETRY_ID = "01980a5f-02b4-7f10-8a3c-5f1c2f0f7a22"
BATCH_ID = "01980a52-1b40-7e02-b6d1-9a2f4c5d6e77"

JOB: dict[str, Any] = {
    "id": JOB_ID,
    "object": "job",
    "status": "queued",
    "mode": "async",
    "batch_id": None,
    "custom_id": None,
    "priority": "high",
    "audio": {"url": "https://audio.example.com/calls/4711.wav"},
    "options": {"model": "nova-3", "smart_format": True, "diarize": True},
    "metadata": {"order": "4711"},
    "duration_seconds": None,
    "attempt": 0,
    "max_attempts": 5,
    "created_at": "2026-03-01T09:30:00.412000Z",
    "started_at": None,
    "finished_at": None,
    "next_attempt_at": None,
    "expires_at": None,
    "erased_at": None,
    "retention": {
        "audio_days": 0,
        "transcript_days": None,
        "payload_days": None,
        "erased": [],
    },
    "retry_of": None,
    "region": None,
    "error": None,
    "warnings": [],
    "result_url": None,
    "route": None,
}
CANCELED: dict[str, Any] = {
    **JOB,
    "status": "canceled",
    "finished_at": "2026-03-01T09:30:02.118000Z",
}
DETAIL_JOB: dict[str, Any] = {
    **JOB,
    "queue": {
        "position": 3,
        "is_capped": False,
        "audio_seconds_ahead": 412.5,
        "eta_seconds": 21.0,
    },
}
COMPLETED_JOB: dict[str, Any] = {
    **JOB,
    "status": "completed",
    "duration_seconds": 12.4,
    "attempt": 1,
    "started_at": "2026-03-01T09:30:00.455000Z",
    "finished_at": "2026-03-01T09:30:02.101000Z",
    "region": "us-east-1",
    "result_url": f"https://transcribe.example/v1/transcripts/{JOB_ID}",
}
RETRIED: dict[str, Any] = {**JOB, "id": RETRY_ID, "retry_of": JOB_ID}

ATTEMPT: dict[str, Any] = {
    "id": "01980a52-7d60-7b11-b0f4-2f8d2f7f4d10",
    "outcome": "ok",
    "region": "eu-west-1",
    "request_id": "3b5d2c1e-6c0e-4a59-9b1f-7a0f6d2f9e55",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "status_code": 200,
    "error_code": "",
    "audio_seconds": 184.2,
    "cost_estimate": "0.013202",
    "started_at": "2026-03-01T09:30:00.731000Z",
    "finished_at": "2026-03-01T09:30:04.902000Z",
}
SUBMISSION: dict[str, Any] = {
    "audio_url": "https://audio.example.com/calls/4711.wav",
    "options": {"diarize": True},
    "priority": "high",
    "metadata": {"order": "4711"},
    "callback_url": "https://hooks.example.com/transcripts",
    "retention": {"audio_days": 0},
}
SUBMISSION_FORM: dict[str, Any] = {"file": "(bytes)", "priority": "high"}
BATCH_SUBMISSION: dict[str, Any] = {
    "defaults": {"options": {"diarize": True}, "priority": "low"},
    "items": [
        {"audio_url": "https://audio.example.com/calls/4711.wav"},
        {
            "audio_url": "https://audio.example.com/calls/4712.wav",
            "metadata": {"order": "4712"},
        },
    ],
    "metadata": {"night": "2026-03-01"},
}
BATCH: dict[str, Any] = {
    "id": BATCH_ID,
    "object": "batch",
    "status": "processing",
    "counts": {
        "total": 2,
        "open": 2,
        "completed": 0,
        "failed": 0,
        "canceled": 0,
        "expired": 0,
    },
    "percent": 0,
    "skipped": 0,
    "audio_seconds_done": 0.0,
    "audio_seconds_ahead": None,
    "cost_estimate": "0.000000",
    "eta_seconds": None,
    "metadata": {"night": "2026-03-01"},
    "retry_of": None,
    "created_at": "2026-03-01T09:29:58.208000Z",
    "expires_at": None,
    "finished_at": None,
    "erased_at": None,
    "jobs_url": f"https://api.example.com/v1/jobs?batch_id={BATCH_ID}",
}
MOVING_BATCH: dict[str, Any] = {
    **BATCH,
    "counts": {
        "total": 10_000,
        "open": 6_120,
        "completed": 3_871,
        "failed": 9,
        "canceled": 0,
        "expired": 0,
    },
    "percent": 38,
    "audio_seconds_done": 712_264.0,
    "audio_seconds_ahead": 1_126_080.0,
    "cost_estimate": "51.045587",
    "eta_seconds": 1164.0,
}
PAUSED: dict[str, Any] = {**MOVING_BATCH, "status": "paused", "eta_seconds": None}
CANCELING: dict[str, Any] = {**MOVING_BATCH, "status": "canceling"}
BATCH_RETRY: dict[str, Any] = {
    **BATCH,
    "id": "01980a61-5c3e-7a90-8d11-2b7e9f0a1c33",
    "retry_of": BATCH_ID,
    "jobs_url": "https://api.example.com/v1/jobs"
    "?batch_id=01980a61-5c3e-7a90-8d11-2b7e9f0a1c33",
}
CHECKED = (
    '{"line": 17, "pointer": "/audio_url", "code": "url_not_allowed",'
    ' "detail": "This URL is not allowed."}\n'
    '{"lines": 20000, "good": 19999, "bad": 1}\n'
)
_LINES = (
    '{"audio_url": "https://audio.example.com/calls/4711.wav", "custom_id": "4711"}\n'
    '{"audio_url": "https://audio.example.com/calls/4712.wav", "priority": "high"}\n'
)
MANIFESTS = {
    "application/x-ndjson": _LINES,
    "application/jsonl": _LINES,
    "text/csv": "audio_url,custom_id,options.language\n"
    "https://audio.example.com/calls/4711.wav,4711,de\n",
    "application/gzip": "(bytes)",
}
MANIFEST_FORM: dict[str, Any] = {
    "file": "(bytes)",
    "on_error": "skip",
    "defaults": {"options": {"diarize": True}},
}
