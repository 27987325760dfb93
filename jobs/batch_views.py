"""The batches API: submit many jobs at once, look, list."""

from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import batches, intake, pagination, schema
from jobs.api import ApiView, caller_of, respond, tenant_of
from jobs.batch_serializers import BatchInput, BatchOutput, BatchPage
from jobs.examples import BATCH, BATCH_SUBMISSION, examples, page_of
from jobs.idempotency import Answer
from jobs.models import Batch
from jobs.pagination import PageQuery, respond_page

SCOPES = {"GET": "jobs:read", "POST": "jobs:write"}


class BatchList(ApiView):
    """A tenant's batches."""

    required_scopes = SCOPES
    query_parameters = {"GET": pagination.PARAMETERS}

    @extend_schema(
        operation_id="submit_batch",
        request=BatchInput,
        responses={
            (202, "application/json"): BatchOutput,
            **schema.problems(410, 413, 415, 422),
        },
        parameters=[schema.IDEMPOTENCY_PARAMETER, *schema.ACCEPTED_HEADERS],
        examples=examples(sent=BATCH_SUBMISSION, answers={202: BATCH}),
    )
    def post(self, request: Request) -> Response:
        """Submit up to a thousand jobs: all of them, or none if one is wrong."""
        now = timezone.now()
        caller = caller_of(request)
        asked = BatchInput(data=request.data)
        asked.is_valid(raise_exception=True)
        rules = asked.rules(caller=caller, now=now)
        answer, replayed = intake.accept_batch(
            caller=caller,
            batch=asked.batch(rules),
            jobs=asked.jobs(rules),
            body=asked.initial_data,
            answer=accepted,
        )
        return respond(answer, replayed=replayed)

    @extend_schema(
        operation_id="list_batches",
        responses={(200, "application/json"): BatchPage, **schema.problems()},
        parameters=schema.PAGE_PARAMETERS,
        examples=examples(answers={200: page_of(BATCH)}),
    )
    def get(self, request: Request) -> Response:
        """List batches, newest first."""
        tenant = tenant_of(request)
        page = PageQuery.parse(request.query_params, owner=tenant.pk, of="batches")
        rows = batches.find_batches(tenant=tenant)
        return respond_page(request, rows, page, BatchOutput)


class BatchDetail(ApiView):
    """One batch."""

    required_scopes = SCOPES

    @extend_schema(
        operation_id="get_batch",
        responses={(200, "application/json"): BatchOutput, **schema.problems(404)},
        examples=examples(answers={200: BATCH}),
    )
    def get(self, request: Request, batch_id: UUID) -> Response:
        """Show a batch and how far it is."""
        batch = batches.get_batch(tenant=tenant_of(request), batch_id=batch_id)
        headers = {} if batch.finished_at else {"Retry-After": "5"}
        return Response(BatchOutput(batch).data, headers=headers)


def accepted(batch: Batch) -> Answer:
    """Return the 202 that a new batch is answered with."""
    return Answer(
        status_code=status.HTTP_202_ACCEPTED,
        body=BatchOutput(batch).data,
        location=f"/v1/batches/{batch.pk}",
    )
