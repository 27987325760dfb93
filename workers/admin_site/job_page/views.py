"""A job's audio and transcript for operators.

``workers.admin_site.admin`` checks the permissions.
"""

from datetime import timedelta
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.views import APIView

from jobs.accounts import audit
from jobs.api.audio import responses as audio_responses
from jobs.api.audio.views import RENDERERS
from jobs.audio import stored_audio
from jobs.errors import NotFound
from jobs.models import Event, Job
from jobs.rest.views import HeaderNegotiation
from transcripts import queries, services
from transcripts.formats import FORMATS

AUDIO_ACCESS = "job.audio_heard"
TRANSCRIPT_ACCESS = "job.transcript_read"
# A player requests many parts of a file: one event per period.
ACCESS_PERIOD = timedelta(minutes=10)


class ContentView(APIView):
    """Customer content; errors are problem+json. The caller passes ``actor``."""

    authentication_classes = ()
    permission_classes = ()
    content_negotiation_class = HeaderNegotiation
    schema = None


class JobPageAudio(ContentView):
    """The audio, for a player, with range requests."""

    renderer_classes = RENDERERS

    def get(self, request: Request, job_id: UUID, actor: str) -> HttpResponseBase:
        """Return the audio, or the requested range."""
        job = _get_job(job_id)
        stored_audio.open_audio(job).close()  # raises before the access is recorded
        _record(job, AUDIO_ACCESS, actor)
        http_request = request._request  # noqa: SLF001  DRF offers no other way
        return audio_responses.build_audio_response(http_request, job)


class JobTranscript(ContentView):
    """The transcript with word timings."""

    def get(self, _request: Request, job_id: UUID, actor: str) -> HttpResponse:
        """Return the transcript as the API does."""
        transcript = queries.get_transcript_of(_get_job(job_id))
        body = services.build_format(transcript, FORMATS["json"])
        _record(transcript.job, TRANSCRIPT_ACCESS, actor)
        return HttpResponse(body, content_type="application/json")


def _get_job(job_id: UUID) -> Job:
    job = Job.objects.select_related("tenant").filter(pk=job_id).first()
    if job is None:
        raise NotFound
    return job


def _record(job: Job, kind: str, actor: str) -> None:
    """Record an access as an audit event, before the content is returned."""
    now = timezone.now()
    recent = Event.objects.filter(
        job=job, type=kind, actor=actor, created_at__gt=now - ACCESS_PERIOD
    )
    if not recent.exists():
        audit.record(type=kind, actor=actor, at=now, tenant=job.tenant, job=job)
