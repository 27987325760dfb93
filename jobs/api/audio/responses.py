"""The response with a job's uploaded audio, or a range of it (RFC 9110, 14).

The views check access.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
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
from jobs.rest import downloads, etags

# Clients may cache it but revalidate each time, as with JSON responses.
_CACHE_CONTROL = "private, no-cache"


def build_audio_response(
    request: HttpRequest, job: Job
) -> HttpResponse | StreamingHttpResponse:
    """Return the audio; raises the errors of ``open_audio`` and ``ByteRange.parse``."""
    file = stored_audio.open_audio(job)
    headers = {"ETag": _build_tag(job), "Cache-Control": _CACHE_CONTROL}
    if etags.is_known(request, headers["ETag"]):
        file.close()
        return HttpResponseNotModified(headers=headers)
    try:
        part = ByteRange.parse(_get_range(request, headers["ETag"]), size=file.size)
        headers |= _build_headers(job, part)
        if request.method == "HEAD":
            file.close()
            return HttpResponse(headers=headers, status=_choose_status(part))
        chunks = _read_chunks(request, file, part, tenant_id=job.tenant_id)
    except Exception:
        file.close()
        raise
    # Django would release the connection only after the last byte.
    downloads.release_connection()
    return StreamingHttpResponse(chunks, headers=headers, status=_choose_status(part))


def _build_tag(job: Job) -> str:
    """Return a strong tag: an upload never changes."""
    return f'"{job.sha256 or job.pk.hex}"'


def _get_range(request: HttpRequest, entity_tag: str) -> str:
    """Return the ``Range`` header, unless ``If-Range`` names another version."""
    condition = request.headers.get("If-Range", entity_tag)
    return request.headers.get("Range", "") if condition == entity_tag else ""


def _build_headers(job: Job, part: ByteRange) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": stored_audio.choose_media_type(job),
        "Content-Length": str(part.length),
        "Content-Disposition": content_disposition_header(
            as_attachment=True, filename=job.filename or "audio"
        )
        or "attachment",
    }
    if not part.is_whole:
        headers["Content-Range"] = part.content_range
    return headers


def _choose_status(part: ByteRange) -> int:
    return status.HTTP_200_OK if part.is_whole else status.HTTP_206_PARTIAL_CONTENT


def _read_chunks(
    request: HttpRequest, file: Any, part: ByteRange, *, tenant_id: UUID
) -> stored_audio.AudioChunks | stored_audio.AsyncAudioChunks:
    """Return the body; over WSGI it occupies a thread until the client has read it."""
    if isinstance(request, ASGIRequest):
        return stored_audio.AsyncAudioChunks(file, part, then=lambda: None)
    return stored_audio.AudioChunks(file, part, then=_reserve_thread(tenant_id))


def _reserve_thread(tenant_id: UUID) -> Callable[[], None]:
    gate = thread_limits.waiting_requests()
    if not gate.acquire(tenant_id):
        message = "Too many requests are waiting. Retry shortly."
        raise ServiceUnavailable(message)
    return lambda: gate.release(tenant_id)
