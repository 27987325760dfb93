"""Views to submit, get and list batches."""

from collections.abc import Mapping
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api.jobs.filters import parse_metadata
from jobs.batches import records
from jobs.batches.api import acceptance, requests
from jobs.batches.api.serializers import BatchOutput
from jobs.batches.manifests import upload as manifest_upload
from jobs.batches.manifests.upload import MANIFEST_PARSERS, ManifestFormParser
from jobs.batches.records import BatchFilter
from jobs.batches.statistics import BatchStatus
from jobs.concurrency import upload_lock
from jobs.rest import etags
from jobs.rest.filters import parse_choice, parse_moment
from jobs.rest.openapi import (
    ACCEPTED_HEADERS,
    IDEMPOTENCY_PARAMETER,
    PAGE_PARAMETERS,
    document,
    page,
    query_parameter,
)
from jobs.rest.pagination import respond_list
from jobs.rest.parsers import StrictJSONParser
from jobs.rest.serializers import METADATA_LENGTH
from jobs.rest.views import ApiView, get_caller, get_tenant, respond


class BatchView(ApiView):
    """Base of the views of batches."""

    required_scopes = {"GET": "jobs:read", "POST": "jobs:write"}


class BatchList(BatchView):
    """Submits and lists batches."""

    parser_classes = (StrictJSONParser, ManifestFormParser, *MANIFEST_PARSERS)
    raw_types = manifest_upload.KINDS
    raw_max_bytes = settings.MANIFEST_MAX_BYTES

    @document(
        "submit_batch",
        {202: BatchOutput},
        request=requests.BODIES,
        problems=(410,),
        parameters=[IDEMPOTENCY_PARAMETER, *ACCEPTED_HEADERS, *requests.QUERY],
    )
    def post(self, request: Request) -> Response:
        """Submit a batch.

        Send up to 1,000 jobs as JSON, or a manifest of up to 100,000 lines.

        One invalid item rejects the whole batch, unless `on_error=skip` omits invalid
        items.
        """
        now = timezone.now()
        caller = get_caller(request)
        with (
            upload_lock.reject_concurrent_repeats(
                tenant=caller.tenant,
                route=acceptance.ROUTE,
                key=caller.key,
                is_upload=requests.is_manifest(request),
            ),
            requests.read_submission(request, caller=caller, now=now) as submission,
        ):
            response, is_replay = acceptance.accept_batch(
                caller=caller, submission=submission
            )
        return respond(response, replayed=is_replay)

    @document(
        "list_batches",
        page(BatchOutput, "One page of a tenant's batches, newest first."),
        parameters=[
            *PAGE_PARAMETERS,
            query_parameter("status", enum=list(BatchStatus)),
            query_parameter("created_after", OpenApiTypes.DATETIME),
            query_parameter("created_before", OpenApiTypes.DATETIME),
            query_parameter(
                "metadata.{key}",
                {"type": "string", "maxLength": METADATA_LENGTH},
                description="Only batches with this value.",
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        """List batches. Newest first."""
        rows = records.find_batches(
            tenant=get_tenant(request), filters=_parse_filter(request.query_params)
        )
        return respond_list(request, rows, BatchOutput, list_name="batches")


def _parse_filter(params: Mapping[str, str]) -> BatchFilter:
    status = parse_choice(params, "status", list(BatchStatus))
    return BatchFilter(
        status=BatchStatus(status) if status else None,
        created_after=parse_moment(params, "created_after"),
        created_before=parse_moment(params, "created_before"),
        metadata=parse_metadata(params),
    )


class BatchDetail(BatchView):
    """Gets a batch."""

    @document("get_batch", BatchOutput)
    def get(self, request: Request, batch_id: UUID) -> Response:
        """Get a batch. Includes the counts of its jobs by status."""
        batch = records.get_batch(tenant=get_tenant(request), batch_id=batch_id)
        body = BatchOutput(batch, context={"now": timezone.now()}).data
        headers = {} if batch.finished_at else {"Retry-After": "5"}
        # The estimate changes with every request, so it is not part of the ETag.
        headers["ETag"] = etags.build_tag({**body, "eta_seconds": None})
        return Response(body, headers=headers)
