"""The response that Deepgram's API would give for a job: document or error. Pure.

Format and texts: https://developers.deepgram.com/docs/errors.
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
# Status, code and message by the error code of the job; upstream faults are 5xx.
_ERRORS: dict[str, tuple[int, str, str]] = {
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
_DEFAULT = (503, "SERVICE_UNAVAILABLE", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepgramErrorResponse:
    """An error in Deepgram's format."""

    status: int
    code: str
    message: str

    def envelope(self, request_id: str) -> dict[str, str]:
        """Return the response body."""
        return {
            "err_code": self.code,
            "err_msg": self.message,
            "request_id": request_id,
        }


def build_error(job: Job) -> DeepgramErrorResponse:
    """Return the error of a job that ended without a transcript."""
    if job.status == JobStatus.FAILED:
        status, code, message = _ERRORS.get(job.error_code, _DEFAULT)
        message = message or job.error_detail
        return DeepgramErrorResponse(status=status, code=code, message=message)
    message = f"The job is {job.status}."
    return DeepgramErrorResponse(status=503, code=_DEFAULT[1], message=message)


def replace_request_id(document: dict[str, Any], request_id: str) -> bytes:
    """Return the document with the request id that the caller received."""
    metadata = document.get("metadata")
    replaced = {**(metadata if isinstance(metadata, dict) else {})}
    replaced["request_id"] = request_id
    return json.dumps(
        {**document, "metadata": replaced}, separators=(",", ":")
    ).encode()
