"""Answer with the audio that was uploaded for a job, or a part of it.

For whoever may hear it: the views know who that is.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotModified,
    StreamingHttpResponse,
)
from django.utils.http import content_disposition_header
from rest_framework import status

from jobs.audio import stored_audio
from jobs.audio.byte_ranges import ByteRange
from jobs.concurrency import thread_limits
from jobs.errors import ServiceUnavailable
from jobs.models import Job
from jobs.rest import etags

# As answers in JSON are kept: only by whoever asks each time whether it may.
_KEEPING = "private, no-cache"


def respond(request: HttpRequest, job: Job) -> HttpResponse | StreamingHttpResponse:
    """Answer with the audio; raises what ``audio.open_audio`` and ``ByteRange.parse`` do."""
    file = stored_audio.open_audio(job)
    headers = {"ETag": _tag_of(job), "Cache-Control": _KEEPING}
    if etags.is_known(request, headers["ETag"]):
        file.close()
        return HttpResponseNotModified(headers=headers)
    try:
        part = ByteRange.parse(_range_of(request, headers["ETag"]), size=file.size)
        headers |= _describe(job, part)
        if request.method == "HEAD":
            file.close()
            return HttpResponse(headers=headers, status=_status_of(part))
        pieces = _pieces(request, file, part, tenant_id=job.tenant_id)
    except Exception:
        file.close()
        raise
    # Django would give it back when the last byte is sent.
    if not connection.in_atomic_block:
        connection.close()
    return StreamingHttpResponse(pieces, headers=headers, status=_status_of(part))


def _tag_of(job: Job) -> str:
    """Return a strong tag: an upload never changes."""
    return f'"{job.sha256 or job.pk.hex}"'


def _range_of(request: HttpRequest, entity_tag: str) -> str:
    """Return the range that is asked for of this very audio."""
    condition = request.headers.get("If-Range", entity_tag)
    return request.headers.get("Range", "") if condition == entity_tag else ""


def _describe(job: Job, part: ByteRange) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": stored_audio.media_type_of(job),
        "Content-Length": str(part.length),
        "Content-Disposition": content_disposition_header(
            as_attachment=True, filename=job.filename or "audio"
        )
        or "attachment",
    }
    if not part.is_whole:
        headers["Content-Range"] = part.content_range
    return headers


def _status_of(part: ByteRange) -> int:
    return status.HTTP_200_OK if part.is_whole else status.HTTP_206_PARTIAL_CONTENT


def _pieces(
    request: HttpRequest, file: Any, part: ByteRange, *, tenant_id: UUID
) -> stored_audio.AudioChunks | stored_audio.AsyncAudioChunks:
    """Return the body; over WSGI it holds a thread for as long as it is read."""
    if isinstance(request, ASGIRequest):
        return stored_audio.AsyncAudioChunks(file, part, then=_nothing)
    return stored_audio.AudioChunks(file, part, then=_borrow_thread(tenant_id))


def _borrow_thread(tenant_id: UUID) -> Callable[[], None]:
    gate = thread_limits.waiters()
    if not gate.acquire(tenant_id):
        message = "Too many callers are being waited for; ask again shortly."
        raise ServiceUnavailable(message)
    return lambda: gate.release(tenant_id)


def _nothing() -> None:
    """No thread was lent."""
