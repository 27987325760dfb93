"""A job's audio, for whoever may read its transcript."""

from collections.abc import Callable
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.utils.http import content_disposition_header
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from jobs import audio, audio_schema, etags, lent_threads, queries
from jobs.api import ApiView, tenant_of
from jobs.byte_ranges import Part
from jobs.errors import ServiceUnavailable
from jobs.models import Job

# As answers in JSON are kept: only by whoever asks each time whether it may.
_KEEPING = "private, no-cache"


class AudioRenderer(BaseRenderer):
    """The form of the answer, so that ``Accept`` is held against it."""

    media_type = "audio/*"
    format = "audio"

    def render(self, *_answer: object) -> bytes:
        """Return nothing: the bytes do not come by here."""
        return b""


class VideoRenderer(AudioRenderer):
    """Audio with pictures is taken as well."""

    media_type = "video/*"


class BytesRenderer(AudioRenderer):
    """What the uploader did not name."""

    media_type = audio.UNKNOWN_TYPE


class JobAudio(ApiView):
    """The audio of one job, as it was uploaded."""

    required_scopes = {"GET": "jobs:read"}
    renderer_classes = (AudioRenderer, VideoRenderer, BytesRenderer)

    @extend_schema(**audio_schema.AUDIO)
    def get(
        self, request: Request, job_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Return the audio that was uploaded for a job, or a part of it.

        Only uploads are kept: audio that is at a URL of yours is to be had there.
        """
        job = queries.get_job(tenant=tenant_of(request), job_id=job_id)
        file = audio.open_audio(job)
        headers = {"ETag": _tag_of(job), "Cache-Control": _KEEPING}
        if etags.is_known(request, headers["ETag"]):
            file.close()
            return HttpResponseNotModified(headers=headers)
        try:
            part = Part.parse(_range_of(request, headers["ETag"]), size=file.size)
            headers |= _describe(job, part)
            if request.method == "HEAD":
                file.close()
                return HttpResponse(headers=headers, status=_status_of(part))
            pieces = _pieces(request, file, part)
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


def _range_of(request: Request, entity_tag: str) -> str:
    """Return the range that is asked for of this very audio."""
    condition = request.headers.get("If-Range", entity_tag)
    return request.headers.get("Range", "") if condition == entity_tag else ""


def _describe(job: Job, part: Part) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": audio.media_type_of(job),
        "Content-Length": str(part.length),
        "Content-Disposition": content_disposition_header(
            as_attachment=True, filename=job.filename or "audio"
        )
        or "attachment",
    }
    if not part.is_whole:
        headers["Content-Range"] = part.content_range
    return headers


def _status_of(part: Part) -> int:
    return status.HTTP_200_OK if part.is_whole else status.HTTP_206_PARTIAL_CONTENT


def _pieces(
    request: Request, file: object, part: Part
) -> audio.Pieces | audio.AsyncPieces:
    """Return the body; over WSGI it holds a thread for as long as it is read."""
    inner = request._request  # noqa: SLF001  DRF offers no other way
    if isinstance(inner, ASGIRequest):
        return audio.AsyncPieces(file, part, then=_nothing)
    return audio.Pieces(file, part, then=_borrow_thread(tenant_of(request).pk))


def _borrow_thread(tenant_id: UUID) -> Callable[[], None]:
    gate = lent_threads.waiters()
    if not gate.enter(tenant_id):
        message = "Too many callers are being waited for; ask again shortly."
        raise ServiceUnavailable(message)
    return lambda: gate.leave(tenant_id)


def _nothing() -> None:
    """No thread was lent."""
