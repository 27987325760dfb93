"""``/v1/audio/transcriptions``, compatible with OpenAI; each request is a job.

Errors have OpenAI's envelope. A request waits up to LISTEN_WAIT_SECONDS for a permit
and its transcript, as those of Deepgram's API do.
"""

import time
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from jobs import services
from jobs.api.jobs import submission as job_submission
from jobs.api.jobs.submission import Submission
from jobs.errors import JobStateError, LimitExceeded, NotFound, UpstreamError
from jobs.models import Job
from jobs.rest.views import ApiView, get_caller, validate
from jobs.routing.hybrid_router import RouteMode
from transcripts.formats import FormatSource
from transcripts.storage import read_raw
from workers.api import routing
from workers.api.openai import openai_errors, responses
from workers.api.openai.form import TranscriptionForm, TranscriptionInput
from workers.api.transcribe import sync_jobs

API_VERSION = "2020-10-01"
RETRY_SECONDS = 5
_TRANSLATIONS = (
    "Translation is not supported. Transcribe with /v1/audio/transcriptions and"
    " translate its text."
)
_ELSEWHERE = "Of OpenAI's audio API, only /v1/audio/transcriptions is supported."


class OpenAIView(ApiView):
    """Base class of the OpenAI-compatible views."""

    # Not in the OpenAPI document, and without its conventions.
    speaks_openai = True
    translate = staticmethod(openai_errors.translate)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Measure from here: OpenAI reports the processing time in a header."""
        self._began = time.monotonic()
        super().initial(request, *args, **kwargs)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Add OpenAI's header fields."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        seconds = time.monotonic() - getattr(self, "_began", time.monotonic())
        answer.headers["openai-version"] = API_VERSION
        answer.headers["openai-processing-ms"] = str(round(seconds * 1000))
        return answer


@extend_schema(exclude=True)
class Transcriptions(OpenAIView):
    """Transcribe a file."""

    required_scopes = {"POST": "jobs:write"}
    takes_access_tokens = True
    parser_classes = (TranscriptionForm,)

    def post(self, request: Request) -> HttpResponse:
        """Return the transcript in the requested format."""
        now, caller = timezone.now(), get_caller(request)
        form = validate(request, TranscriptionInput)
        fields = form.validated_data
        submission = Submission(
            draft=form.build_draft(services.build_options(caller.tenant, {})),
            body={name: each for name, each in fields.items() if name != "file"},
            file=fields["file"],
            operation="openai",
        )
        with job_submission.closing_file(submission):
            submission = job_submission.probe_upload(
                tenant=caller.tenant, submission=submission
            )
            route = routing.choose_mode(submission.draft, RouteMode.SYNC)
            accepted = sync_jobs.accept(
                caller=caller, submission=submission, route=route, now=now
            )
        job = accepted.wait_for_end(seconds=settings.LISTEN_WAIT_SECONDS)
        if not job.is_final:
            job = _cancel(job)
        transcript = sync_jobs.get_transcript(job)
        source = FormatSource(transcript, read_raw(transcript))
        content_type, body = responses.build_response(source, fields)
        response = HttpResponse(body, content_type=content_type)
        response.headers["Location"] = f"/v1/jobs/{job.pk}"
        if ignored := form.find_ignored():
            response.headers["X-Ignored-Parameters"] = ", ".join(ignored)
        return response


@extend_schema(exclude=True)
class Unsupported(OpenAIView):
    """The rest of OpenAI's audio API."""

    def get(self, _request: Request, path: str) -> NoReturn:
        """Raise NotFound with what is supported."""
        raise NotFound(_TRANSLATIONS if path == "translations" else _ELSEWHERE)

    post = put = patch = delete = get


def _cancel(job: Job) -> Job:
    """Cancel a job whose client stops waiting, because it will retry.

    Raises LimitExceeded or UpstreamError; returns the job if it ended meanwhile.
    """
    try:
        canceled = services.cancel_job(job=job, now=timezone.now(), actor="platform")
    except JobStateError:
        job.refresh_from_db()
        return job
    if canceled.attempt:
        message = "The transcript was not ready in time."
        raise UpstreamError(message, code="upstream_timeout")
    message = "Too many requests are waiting. Retry later."
    raise LimitExceeded(message, code="rate_limited", retry_after=RETRY_SECONDS)
