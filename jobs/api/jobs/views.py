"""The jobs endpoints: submit, list, get, cancel, retry, erase."""

from dataclasses import replace
from uuid import UUID

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import queries, services
from jobs.api.jobs import serializers, submission
from jobs.api.jobs.filters import MAX_NAME, JobListQuery
from jobs.api.jobs.submission import Submission, SubmissionResult, build_accepted
from jobs.concurrency import upload_lock
from jobs.models import Mode
from jobs.rest import etags, preferences
from jobs.rest.openapi import (
    ACCEPTED_HEADERS,
    IDEMPOTENCY_PARAMETER,
    PAGE_PARAMETERS,
    document,
    header,
    page,
    query_parameter,
    short_text,
)
from jobs.rest.pagination import respond_page
from jobs.rest.parsers import StrictJSONParser, StrictMultiPartParser
from jobs.rest.preferences import Preferences
from jobs.rest.serializers import METADATA_LENGTH
from jobs.rest.views import (
    ApiView,
    check_no_body,
    get_actor,
    get_caller,
    get_tenant,
    is_upload,
    respond,
    validate,
)
from jobs.retention import erasure
from jobs.scheduling import long_poll, queue_position, waiting
from jobs.state import JobStatus


class JobView(ApiView):
    """Base of the views of jobs."""

    required_scopes = {
        "GET": "jobs:read",
        **dict.fromkeys(("POST", "PATCH", "DELETE"), "jobs:write"),
    }


class JobList(JobView):
    """A tenant's jobs."""

    parser_classes = (StrictJSONParser, StrictMultiPartParser)

    @document(
        "submit_job",
        {201: serializers.JobOutput, 202: serializers.JobOutput},
        request=serializers.JobInput,
        problems=(410,),
        parameters=[
            IDEMPOTENCY_PARAMETER,
            *ACCEPTED_HEADERS,
            header(
                preferences.HEADER,
                "`wait=1` to `wait=60`: respond when the job ends, or after these"
                " seconds. `respond-async`: respond immediately.",
            ),
            header(preferences.APPLIED, "The preference that was applied.", 201, 202),
        ],
    )
    def post(self, request: Request) -> Response:
        """Submit a job.

        Send the URL of the audio as JSON, or the file as `multipart/form-data`.
        """
        now = timezone.now()
        # Headers first: a malformed one must not cost a job.
        caller, preferred = get_caller(request), _parse_preferences(request)
        with upload_lock.reject_concurrent_repeats(
            tenant=caller.tenant,
            route="submit",
            key=caller.key,
            is_upload=is_upload(request),
        ):
            form = validate(request, serializers.JobInput)
            accepted = submission.accept_job(
                caller=caller,
                submission=Submission.build(form, operation="submit", now=now),
                now=now,
            )
        return _respond_as_preferred(request, accepted, preferred)

    @document(
        "list_jobs",
        page(serializers.JobOutput, "One page of a tenant's jobs, newest first."),
        parameters=[
            *PAGE_PARAMETERS,
            query_parameter("status", enum=list(JobStatus)),
            query_parameter("batch_id", OpenApiTypes.UUID),
            query_parameter(
                "custom_id",
                short_text(serializers.MAX_CUSTOM_ID),
                description="Your own id of the job.",
            ),
            query_parameter("mode", enum=list(Mode)),
            query_parameter(
                "region",
                short_text(MAX_NAME),
                description="The region that ran it last.",
            ),
            query_parameter(
                "error_code", short_text(MAX_NAME), description="Why it failed."
            ),
            query_parameter("priority", enum=serializers.PRIORITIES),
            query_parameter("created_after", OpenApiTypes.DATETIME),
            query_parameter("created_before", OpenApiTypes.DATETIME),
            query_parameter(
                "metadata.{key}",
                {"type": "string", "maxLength": METADATA_LENGTH},
                description="Only jobs with this value.",
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        """List jobs. Newest first."""
        tenant = get_tenant(request)
        query = JobListQuery.parse(request.query_params, owner=tenant.pk)
        jobs = queries.find_jobs(tenant=tenant, filters=query.filters)
        return respond_page(request, jobs, query.page, serializers.JobOutput)


class JobDetail(JobView):
    """One job."""

    @document("get_job", serializers.JobDetailOutput)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Get a job.

        `Retry-After` gives the seconds to wait before the next request.
        """
        now = timezone.now()
        job = queries.get_job(tenant=get_tenant(request), job_id=job_id)
        wait = serializers.get_retry_after(job, now=now)
        headers = {"Retry-After": str(wait)} if wait else {}
        found = queue_position.find_queue_position(job, now=now)
        body = serializers.build_detail(job, found, waiting.explain_wait(job, now=now))
        # The estimates change with every request, so they do not change the tag.
        position = found.position if found else None
        headers["ETag"] = etags.build_tag({**body, "queue": position})
        return Response(body, headers=headers)

    @document(
        "update_job",
        serializers.JobOutput,
        request=serializers.JobChanges,
        problems=(410,),
    )
    def patch(self, request: Request, job_id: UUID) -> Response:
        """Update a job.

        Changes your own data of a job, in any status. Messages that were already sent
        keep the earlier data.
        """
        job = queries.get_job(tenant=get_tenant(request), job_id=job_id)
        form = validate(request, serializers.JobChanges)
        updated = services.update_job(
            job=job,
            changes=form.validated_data,
            now=timezone.now(),
            actor=get_actor(request),
        )
        return Response(serializers.JobOutput(updated).data)

    @document("erase_job", serializers.ErasureOutput, problems=(409,))
    def delete(self, request: Request, job_id: UUID) -> Response:
        """Erase the content of a job.

        The job must have ended. Repeated requests return the same receipt.

        Erases audio, transcript, Deepgram's response, webhook bodies and responses,
        stored idempotent responses, metadata and `custom_id`. Cost and times remain.
        """
        check_no_body(request)
        receipt = erasure.erase_job(
            job=queries.get_job(tenant=get_tenant(request), job_id=job_id),
            actor=get_actor(request),
            now=timezone.now(),
        )
        return Response(serializers.ErasureOutput(receipt).data)


class JobAttempts(JobView):
    """The upstream calls of one job."""

    @document("list_attempts", serializers.AttemptPage)
    def get(self, request: Request, job_id: UUID) -> Response:
        """List the attempts of a job. Oldest first."""
        job = queries.get_job(tenant=get_tenant(request), job_id=job_id)
        page = {"data": queries.list_attempts(job)}
        return Response(serializers.AttemptPage(page).data)


class JobCancel(JobView):
    """The cancellation of one job."""

    @document("cancel_job", serializers.JobOutput, problems=(409,))
    def post(self, request: Request, job_id: UUID) -> Response:
        """Cancel a job.

        Abandons a running call and discards its result.

        A live session ends within two seconds and leaves no transcript.
        """
        check_no_body(request)
        job = queries.get_job(tenant=get_tenant(request), job_id=job_id)
        canceled = services.cancel_job(
            job=job, now=timezone.now(), actor=get_actor(request)
        )
        return Response(serializers.JobOutput(canceled).data)


class JobRetry(JobView):
    """The retry of one job that has ended."""

    @document(
        "retry_job",
        {202: serializers.JobOutput},
        problems=(410,),
        parameters=[IDEMPOTENCY_PARAMETER, *ACCEPTED_HEADERS],
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Retry a job.

        Submits an ended job again as a new job that names it in `retry_of`.

        Live sessions cannot be retried, because their audio is not stored.
        """
        check_no_body(request)
        caller = get_caller(request)
        job = queries.get_job(tenant=caller.tenant, job_id=job_id)
        accepted = submission.retry_job(caller=caller, job=job, now=timezone.now())
        return respond(accepted.response, replayed=accepted.is_replay)


def _parse_preferences(request: Request) -> Preferences:
    return Preferences.parse(request.headers.get(preferences.HEADER, ""))


def _respond_as_preferred(
    request: Request, accepted: SubmissionResult, preferred: Preferences
) -> Response:
    """Return the ended job if the caller waits for it and it ends in time, else 202."""
    seconds, job_id = preferred.wait_seconds, UUID(accepted.response.body["id"])
    tenant, replayed = get_tenant(request), accepted.is_replay
    if seconds and long_poll.wait_for_end(job_id, tenant_id=tenant.pk, seconds=seconds):
        job = queries.get_job(tenant=tenant, job_id=job_id)
        ended = replace(build_accepted(job), status_code=status.HTTP_201_CREATED)
        response = respond(ended, replayed=replayed, retry_after=0)
        response.headers[preferences.APPLIED] = f"wait={seconds}"
        return response
    response = respond(accepted.response, replayed=replayed)
    if preferred.respond_async:
        response.headers[preferences.APPLIED] = "respond-async"
    return response
