"""OpenAPI examples of `/v1/transcribe`."""

from typing import Any

from jobs.api.examples import JOB, SUBMISSION_FORM
from jobs.rest.openapi import examples
from transcripts.api.examples import TRANSCRIPT

_ROUTE: dict[str, Any] = {
    "mode": "sync",
    "reason": "short",
    "duration_seconds": 1.6,
    "source": "request",
    "thresholds": {"sync_below_seconds": 60.0, "async_above_seconds": 300.0},
    "region": "eu-west-1",
}
_DONE: dict[str, Any] = {
    **JOB,
    "status": "completed",
    "mode": "sync",
    "duration_seconds": 1.6,
    "attempt": 1,
    "started_at": "2026-03-01T09:30:00.430000Z",
    "finished_at": "2026-03-01T09:30:01.310000Z",
    "region": "eu-west-1",
    "result_url": f"https://api.example.com/v1/transcripts/{JOB['id']}",
    "route": _ROUTE,
}
EXAMPLES = examples(
    sent={
        "audio_url": "https://audio.example.com/calls/4711.wav",
        "duration_seconds": 1.6,
        "metadata": {"order": "4711"},
    },
    form=SUBMISSION_FORM,
    answers={
        200: {
            "request_id": TRANSCRIPT["request_id"],
            "metadata": {"order": "4711"},
            "transcript": TRANSCRIPT,
            "job": _DONE,
            "route": _ROUTE,
        },
        201: {
            "url": "wss://api.example.com/v1/live?ticket=lt_5w2Q",
            "ticket": "lt_5w2Q",
            "expires_at": "2026-03-01T09:31:00Z",
            "route": {**_ROUTE, "mode": "stream", "reason": "asked", "region": None},
        },
        202: JOB,
    },
)
