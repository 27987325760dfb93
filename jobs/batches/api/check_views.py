"""Look at the items of a batch without making one."""

from django.conf import settings
from django.db import connection
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from jobs.api.examples import BATCH_SUBMISSION, CHECKED, MANIFEST_FORM, MANIFESTS
from jobs.batches import check
from jobs.batches.api import requests
from jobs.batches.api.requests import ManifestInput
from jobs.batches.api.serializers import BatchInput
from jobs.batches.api.views import SCOPES
from jobs.batches.manifests import upload as manifest_upload
from jobs.batches.manifests.upload import MANIFEST_PARSERS, ManifestFormParser
from jobs.rest import openapi
from jobs.rest.openapi import examples
from jobs.rest.parsers import StrictJSONParser
from jobs.rest.views import ApiView, caller_of


class BatchCheck(ApiView):
    """A batch that is only looked at."""

    required_scopes = SCOPES
    query_parameters = {"POST": requests.PARAMETERS}
    parser_classes = (StrictJSONParser, ManifestFormParser, *MANIFEST_PARSERS)
    raw_types = manifest_upload.KINDS
    raw_max_bytes = settings.MANIFEST_MAX_BYTES

    @extend_schema(
        operation_id="check_batch",
        request={
            "application/json": BatchInput,
            "multipart/form-data": ManifestInput,
            **dict.fromkeys(manifest_upload.KINDS, OpenApiTypes.BINARY),
        },
        responses={
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            **openapi.problems(413, 415),
        },
        parameters=requests.QUERY,
        examples=examples(
            sent=BATCH_SUBMISSION,
            form=MANIFEST_FORM,
            raw=MANIFESTS,
            answers={(200, "application/x-ndjson"): CHECKED},
        ),
    )
    def post(self, request: Request) -> StreamingHttpResponse:
        """Validate a batch.

        Creates nothing. Streams one JSON object per line for each error, then one with
        the counts.
        """
        caller, now = caller_of(request), timezone.now()
        with requests.reading(request, caller=caller, now=now) as submission:
            told = check.check_batch(submission)
        if not connection.in_atomic_block:
            connection.close()  # a stream may take as long as its reader does
        return StreamingHttpResponse(told, content_type="application/x-ndjson")
