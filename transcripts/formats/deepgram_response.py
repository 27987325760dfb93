"""What Deepgram's own API would have said of a job: its document, or its error. Pure.

Envelopes and texts: https://developers.deepgram.com/docs/errors.
"""

import json
from dataclasses import dataclass
from typing import Any

from jobs.models import Job
from jobs.state import JobStatus

UNREADABLE = (
    "Bad Request: failed to process audio: corrupt or unsupported data",
    "Bad Request",
)
# Statuses, by the codes that jobs fail with; what Deepgram blames on itself is 5xx.
_REFUSED: dict[str, tuple[int, str, str]] = {
    "audio_unreadable": (400, "Bad Request", UNREADABLE[0]),
    "audio_unsupported": (415, "UNSUPPORTED_MEDIA_TYPE", ""),
    "audio_too_large": (413, "PAYLOAD_TOO_LARGE", ""),
    "audio_url_expired": (400, "REMOTE_CONTENT_ERROR", ""),
    "audio_url_refused": (400, "REMOTE_CONTENT_ERROR", ""),
    "audio_url_unreachable": (400, "REMOTE_CONTENT_ERROR", ""),
    "upstream_refused_options": (400, "Bad Request", ""),
    "upstream_processing_timeout": (504, "GATEWAY_TIMEOUT", ""),
    "upstream_timeout": (504, "GATEWAY_TIMEOUT", ""),
}
_ELSE = (503, "SERVICE_UNAVAILABLE", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error as Deepgram answers it."""

    status: int
    code: str
    message: str

    def envelope(self, request_id: str) -> dict[str, str]:
        """Return the body."""
        return {
            "err_code": self.code,
            "err_msg": self.message,
            "request_id": request_id,
        }


def refusal_of(job: Job) -> Refusal:
    """Return the error that a job which ended without a transcript amounts to."""
    if job.status == JobStatus.FAILED:
        status, code, message = _REFUSED.get(job.error_code, _ELSE)
        return Refusal(status=status, code=code, message=message or job.error_detail)
    return Refusal(status=503, code=_ELSE[1], message=f"The job is {job.status}.")


def rename_request(document: dict[str, Any], request_id: str) -> bytes:
    """Return the document under the request id that its caller was given."""
    metadata = document.get("metadata")
    named = {**(metadata if isinstance(metadata, dict) else {})}
    named["request_id"] = request_id
    return json.dumps({**document, "metadata": named}, separators=(",", ":")).encode()
