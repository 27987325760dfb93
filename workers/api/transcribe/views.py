"""``POST /v1/transcribe``: synchronous, queued or live, chosen by the hybrid router."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.accounts import tickets
from jobs.accounts.caller import Caller
from jobs.api.jobs import submission as job_submission
from jobs.api.jobs.serializers import JobOutput
from jobs.api.jobs.submission import Submission, build_accepted
from jobs.concurrency import thread_limits
from jobs.models import Tenant
from jobs.rest.openapi import (
    ACCEPTED_HEADERS,
    IDEMPOTENCY_PARAMETER,
    document,
    query_parameter,
)
from jobs.rest.parsers import StrictJSONParser, StrictMultiPartParser
from jobs.rest.views import ApiView, get_caller, refuse_parameter, respond, validate
from jobs.routing.hybrid_router import DurationSource, RequestFacts, Route, RouteMode
from workers.api import routing
from workers.api.transcribe import sync_jobs, url_probe
from workers.api.transcribe.serializers import (
    ExplainedOutput,
    TicketOutput,
    TranscribedOutput,
    TranscribeInput,
)


class TranscribeForm(StrictMultiPartParser):
    """A multipart form with a file and JSON fields."""

    json_fields = StrictMultiPartParser.json_fields | {
        "duration_seconds",
        "probe_url",
        "wait",
    }


class Transcribe(ApiView):
    """`/v1/transcribe`."""

    required_scopes = {"POST": "jobs:write"}
    takes_access_tokens = True
    parser_classes = (StrictJSONParser, TranscribeForm)

    @document(
        "transcribe",
        {
            200: PolymorphicProxySerializer(
                component_name="Transcribed",
                serializers=[TranscribedOutput, ExplainedOutput],
                resource_type_field_name=None,
            ),
            201: TicketOutput,
            202: JobOutput,
        },
        request=TranscribeInput,
        problems=(502,),
        parameters=[
            query_parameter(
                "explain",
                OpenApiTypes.BOOL,
                description="Return only the chosen mode, without running anything.",
            ),
            IDEMPOTENCY_PARAMETER,
            *ACCEPTED_HEADERS,
        ],
    )
    def post(self, request: Request) -> Response:
        """Transcribe audio.

        Transcribes short audio immediately, queues long audio, or opens a live stream.

        If the transcript is not ready in time, the response is 202 and the same job
        continues.
        """
        now, caller = timezone.now(), get_caller(request)
        explain = _wants_explanation(request)
        body = validate(request, TranscribeInput)
        submission = Submission.build(body, operation="transcribe", now=now)
        with job_submission.closing_file(submission):
            submission = job_submission.probe_upload(
                tenant=caller.tenant, submission=submission
            )
            route = _choose_route(body, submission, caller.tenant)
            if explain:
                return Response(ExplainedOutput({"route": _describe_route(route)}).data)
            if route.mode == RouteMode.STREAM:
                return _create_ticket(caller, submission, route=route, now=now)
            if route.mode == RouteMode.ASYNC:
                return _queue(caller, submission, route=route, now=now)
            accepted = sync_jobs.accept(
                caller=caller,
                submission=submission,
                route=route,
                now=now,
            )
        job = accepted.wait(seconds=body.wait_seconds)
        if not job.is_final:
            return respond(build_accepted(job), replayed=accepted.is_replay)
        output = TranscribedOutput(sync_jobs.present(job)).data
        replayed = {"Idempotency-Replayed": "true"} if accepted.is_replay else {}
        return Response(output, headers={"Location": f"/v1/jobs/{job.pk}", **replayed})


def _wants_explanation(request: Request) -> bool:
    value = request.query_params.get("explain", "false")
    if value not in {"true", "false"}:
        refuse_parameter("explain", "This must be true or false.")
    return value == "true"


def _choose_route(
    body: TranscribeInput, submission: Submission, tenant: Tenant
) -> Route:
    facts = body.facts_of(submission.draft)
    url = submission.draft.audio_url
    if body.wants_probe and url and facts.duration_seconds is None:
        with thread_limits.reserve_probing_thread(tenant.pk):
            found = url_probe.find_duration(url, tenant_id=tenant.pk)
        source = DurationSource.URL if found is not None else facts.source
        facts = RequestFacts(mode=facts.mode, duration_seconds=found, source=source)
    return routing.choose_route(facts)


def _queue(
    caller: Caller, submission: Submission, *, route: Route, now: datetime
) -> Response:
    draft = replace(submission.draft, route=route.describe())
    accepted = job_submission.accept_probed(
        caller=caller, submission=replace(submission, draft=draft), now=now
    )
    return respond(accepted.response, replayed=accepted.is_replay)


def _create_ticket(
    caller: Caller,
    submission: Submission,
    *,
    route: Route,
    now: datetime,
) -> Response:
    ticket, text = tickets.create_ticket(
        tenant=caller.tenant,
        api_key=caller.api_key,
        draft={**submission.body, "mode": "live"},
        now=now,
    )
    socket_url = settings.BASE_URL.replace("http", "ws", 1)
    output = TicketOutput(
        {
            "url": f"{socket_url}/v1/live?{urlencode({'ticket': text})}",
            "ticket": text,
            "expires_at": ticket.expires_at,
            "route": _describe_route(route),
        }
    )
    return Response(output.data, status=status.HTTP_201_CREATED)


def _describe_route(route: Route) -> dict[str, Any]:
    return {**route.describe(), "region": None}
