"""``/v1/listen``, compatible with Deepgram; each request is a job.

Errors have Deepgram's envelope. Above the rate limit a request waits up to
LISTEN_WAIT_SECONDS before it gets 429; a WebSocket handshake does not wait.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from rest_framework.request import Request

from jobs import services
from jobs.accounts import tenants
from jobs.accounts.caller import Caller
from jobs.api.jobs import submission as job_submission
from jobs.api.jobs.submission import Submission
from jobs.egress import policy as egress_policy
from jobs.errors import InvalidRequest, JobStateError
from jobs.models import CallbackStyle, Job
from jobs.options import UnknownOptions
from jobs.rest.parsers import StrictJSONParser
from jobs.rest.views import ApiView, get_caller, get_tenant
from jobs.routing.hybrid_router import RouteMode
from jobs.services import JobDraft
from jobs.state import JobStatus
from transcripts import queries
from transcripts.formats import deepgram_response
from transcripts.storage import read_raw
from workers.api import routing
from workers.api.listen import deepgram_errors, socket
from workers.api.listen.parsing import (
    FILE,
    ListenQuery,
    RawAudioParser,
    parse_query,
    set_ignored,
)
from workers.api.live import handshake
from workers.api.transcribe import sync_jobs

RETRY_SECONDS = 5


class DeepgramView(ApiView):
    """Base class of the Deepgram-compatible views."""

    auth_schemes = ("token", "bearer")
    # Not in the OpenAPI document, and without its conventions.
    schema = None
    speaks_deepgram = True
    translate = staticmethod(deepgram_errors.translate)

    def handle_exception(self, exc: Exception) -> Any:
        """Return the errors that only Deepgram has; ``translate`` converts others."""
        if isinstance(exc, deepgram_errors.DeepgramError):
            return exc.build(request_id=self.request.META["REQUEST_ID"])
        return super().handle_exception(exc)


class SocketView(DeepgramView):
    """Base class of the views that open WebSockets."""

    required_scopes = {"GET": "jobs:write", "POST": "jobs:write"}
    takes_access_tokens = True
    is_socket = True

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        """Accept a key in the subprotocols, for browsers' WebSockets."""
        if request.method == "GET":
            socket.read_key_from_subprotocol(request)
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check first that a GET is a WebSocket handshake from an allowed origin."""
        if request.method == "GET":
            handshake.check_origin(request, explains_to_pages=False)
        super().initial(request, *args, **kwargs)

    def _check_query(self, request: Request) -> None:
        """Do nothing: ``parsing`` checks parameters, which may be repeated."""


class ListenTurns(SocketView):
    """Transcribe live audio in turns: Flux, ``/v2/listen``."""

    def get(self, request: Request) -> HttpResponse:
        """Open a live session."""
        return socket.open_session(request, now=timezone.now(), is_flux=True)


class Listen(SocketView):
    """Transcribe audio: prerecorded with POST, live with a WebSocket (GET)."""

    parser_classes = (StrictJSONParser, RawAudioParser)
    takes_raw_audio = True

    def get(self, request: Request) -> HttpResponse:
        """Open a live session."""
        return socket.open_session(request, now=timezone.now())

    def post(self, request: Request) -> HttpResponse:
        """Return Deepgram's document, or only the request ID with a callback."""
        policy = tenants.get_unknown_options(
            get_tenant(request), default=UnknownOptions.IGNORE
        )
        query = parse_query(request.query_params, policy)
        response = self._transcribe(request, query)
        set_ignored(response, query)
        return response

    def _transcribe(self, request: Request, query: ListenQuery) -> HttpResponse:
        now, caller = timezone.now(), get_caller(request)
        submission = _read_body(request, query)
        with job_submission.closing_file(submission):
            submission = job_submission.probe_upload(
                tenant=caller.tenant, submission=submission
            )
            if query.has_callback:
                return _queue_job(caller, submission, now=now)
            outcome = sync_jobs.accept(
                caller=caller,
                submission=submission,
                route=routing.choose_mode(submission.draft, RouteMode.SYNC),
                now=now,
            )
        job = outcome.wait_for_end(seconds=settings.LISTEN_WAIT_SECONDS)
        return _build_response(job) if job.is_final else _cancel(job)


def _read_body(request: Request, query: ListenQuery) -> Submission:
    """Return the submission: a file, or the URL of one."""
    data = cast("dict[str, Any]", request.data)
    is_json = (request.content_type or "").startswith("application/json")
    url = _read_url(data) if is_json else ""
    file = None if is_json else data.get(FILE)
    if not is_json and file is None:
        raise InvalidRequest("The body contains no audio.", code="field_required")
    draft = JobDraft(
        audio_url=url,
        options=dict(query.options),
        warnings=list(query.warnings),
        callback_url=query.callback_url,
        callback_style=(
            query.callback_style if query.has_callback else CallbackStyle.WEBHOOK
        ),
    )
    body = {"url": url, "query": dict(request.query_params.lists())}
    return Submission(draft=draft, body=body, file=file, operation="listen")


def _read_url(data: dict[str, Any]) -> str:
    url = data.get("url")
    if not isinstance(url, str) or set(data) != {"url"}:
        message = "A JSON body must be an object with only the string 'url'."
        raise InvalidRequest(message, code="field_required", pointer="/url")
    egress_policy.check_audio_url(url, pointer="/url")
    return url


def _queue_job(
    caller: Caller, submission: Submission, *, now: datetime
) -> HttpResponse:
    """Queue the job; its ID is the request ID in the callback's document."""
    route = routing.choose_mode(submission.draft, RouteMode.ASYNC).describe()
    draft = replace(submission.draft, route=route)
    accepted = job_submission.accept_probed(
        caller=caller, submission=replace(submission, draft=draft), now=now
    )
    request_id = str(accepted.response.body["id"])
    response = JsonResponse({"request_id": request_id})
    response.headers["dg-request-id"] = request_id
    return response


def _build_response(job: Job) -> HttpResponse:
    """Return a finished job's document byte for byte, or its error."""
    if job.status != JobStatus.COMPLETED:
        error = deepgram_response.build_error(job)
        return deepgram_errors.build_error(
            error.status, error.code, error.message, request_id=str(job.pk)
        )
    transcript = queries.get_transcript(tenant=job.tenant, job_id=job.pk)
    response = HttpResponse(read_raw(transcript), content_type="application/json")
    response.headers["dg-request-id"] = transcript.request_id
    response.headers["Location"] = f"/v1/jobs/{job.pk}"
    return response


def _cancel(job: Job) -> HttpResponse:
    """Cancel a job whose client stops waiting, because it will retry."""
    try:
        canceled = services.cancel_job(job=job, now=timezone.now(), actor="platform")
    except JobStateError:  # it ended meanwhile
        job.refresh_from_db()
        return _build_response(job)
    status, code = (504, "GATEWAY_TIMEOUT")
    if not canceled.attempt:
        status, code = (429, "TOO_MANY_REQUESTS")
    message = "Too many requests. Please try again later"
    response = deepgram_errors.build_error(
        status, code, message, request_id=str(job.pk)
    )
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
