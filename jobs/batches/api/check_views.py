"""View that checks the items of a batch without creating it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request

from jobs.batches.api import requests
from jobs.batches.api.views import BatchView
from jobs.batches.item_file import BatchSubmission, CheckResult
from jobs.batches.manifests import upload as manifest_upload
from jobs.batches.manifests.upload import MANIFEST_PARSERS, ManifestFormParser
from jobs.rest.openapi import document
from jobs.rest.parsers import StrictJSONParser
from jobs.rest.views import get_caller

_SLICE = 500
_FIELDS = ("line", "pointer", "code", "detail")


class BatchCheck(BatchView):
    """Checks a batch."""

    parser_classes = (StrictJSONParser, ManifestFormParser, *MANIFEST_PARSERS)
    raw_types = manifest_upload.KINDS
    raw_max_bytes = settings.MANIFEST_MAX_BYTES

    @document(
        "check_batch",
        {(200, "application/x-ndjson"): OpenApiTypes.STR},
        request=requests.BODIES,
        parameters=requests.QUERY,
    )
    def post(self, request: Request) -> StreamingHttpResponse:
        """Validate a batch.

        Creates nothing. Streams one JSON object per line for each error, then one with
        the counts.
        """
        caller, now = get_caller(request), timezone.now()
        with requests.read_submission(request, caller=caller, now=now) as submission:
            report = _check_batch(submission)
        if not connection.in_atomic_block:
            connection.close()  # a slow client may keep the stream open for long
        return StreamingHttpResponse(report, content_type="application/x-ndjson")


def _check_batch(submission: BatchSubmission) -> Iterator[bytes]:
    """Check all items, then return the report as JSON lines, streamed from disk.

    Raises InvalidRequest or UploadTooLarge for errors of the manifest as a whole.
    """
    with ExitStack() as stack:
        checked = stack.enter_context(submission.check())
        return _stream_report(checked, stack.pop_all())


def _stream_report(checked: CheckResult, stack: ExitStack) -> Iterator[bytes]:
    with stack:
        for stored in checked.read_errors(_SLICE):
            errors = map(checked.locate, stored)
            rows = ({name: getattr(each, name) for name in _FIELDS} for each in errors)
            yield b"".join(map(_encode_line, rows))
        yield _encode_line(
            {
                "lines": checked.valid + checked.invalid,
                # The words of the batch that these items would make.
                "total": checked.valid,
                "skipped": checked.invalid,
                # The same, by the names of versions before 0.4.
                "good": checked.valid,
                "bad": checked.invalid,
            }
        )


def _encode_line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"
