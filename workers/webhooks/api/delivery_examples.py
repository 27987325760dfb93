"""OpenAPI examples of deliveries, consistent with `jobs.api.examples`."""

from typing import Any

from jobs.api.examples import JOB_ID

DELIVERY_ID = "01980a52-9d10-7a41-8c2e-4d1b7e6f5a33"
ENDPOINT_ID = "01979c10-3a4b-7c5d-9e6f-1a2b3c4d5e44"
RECOVERY_ID = "01980a77-1c2d-7e3f-8a4b-5c6d7e8f9a55"

DELIVERY: dict[str, Any] = {
    "id": DELIVERY_ID,
    "object": "webhook_delivery",
    "message_id": "msg_01980a529c017b30a5f17e2d4c6b8a99",
    "type": "job.completed",
    "endpoint_id": ENDPOINT_ID,
    "url": None,
    "job_id": JOB_ID,
    "status": "delivered",
    "attempts": 2,
    "next_attempt_at": None,
    "is_held": False,
    "is_redelivering": False,
    "created_at": "2026-03-01T09:30:05.010000Z",
    "finished_at": "2026-03-01T09:30:10.377000Z",
}
FAILED_ATTEMPT: dict[str, Any] = {
    "n": 1,
    "trigger": "scheduled",
    "started_at": "2026-03-01T09:30:05.048000Z",
    "duration_ms": 31,
    "status_code": 500,
    "error": None,
    "response_excerpt": "Internal Server Error",
}
ATTEMPT: dict[str, Any] = {
    **FAILED_ATTEMPT,
    "n": 2,
    "started_at": "2026-03-01T09:30:10.301000Z",
    "status_code": 204,
    "response_excerpt": "",
}
RECOVER: dict[str, Any] = {"since": "2026-03-01T00:00:00Z"}
RECOVERY: dict[str, Any] = {
    "id": RECOVERY_ID,
    "object": "webhook_recovery",
    "endpoint_id": ENDPOINT_ID,
    "since": "2026-03-01T00:00:00Z",
    "until": "2026-03-01T12:00:00Z",
    "deliveries": 214,
    "has_more": False,
    "counts": {"pending": 214, "delivered": 0, "failed": 0, "discarded": 0},
    "created_at": "2026-03-01T12:00:00Z",
}
