"""Parse the three forms of a batch request.

A JSON list of items, a form with a manifest, or a manifest as the body with the
settings in the query string.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, cast

from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.request import Request

from jobs.accounts.caller import Caller
from jobs.batches import item_file
from jobs.batches.api.serializers import BatchInput, BatchSettingsInput
from jobs.batches.item_file import BatchSubmission
from jobs.batches.manifests import reader as manifests_reader
from jobs.batches.manifests.lines import digest_of
from jobs.batches.manifests.upload import KINDS, ManifestFormParser, base_type
from jobs.concurrency import thread_limits
from jobs.errors import FieldError, InvalidRequest, ValidationErrors
from jobs.parsing.strict_json import loads_strictly, pointer_to
from jobs.rest import idempotency
from jobs.rest.field_errors import to_field_errors
from jobs.rest.openapi import query_parameter
from jobs.rest.views import check_no_parameters

_SCHEMAS = {
    "on_error": {"type": "string", "enum": ["reject", "skip"]},
    "expires_at": OpenApiTypes.DATETIME,
    "expires_in_seconds": OpenApiTypes.INT,
}
QUERY = [
    query_parameter(
        name,
        _SCHEMAS.get(name, OpenApiTypes.STR),
        description="For a manifest body: same as the form field"
        + (", in JSON." if name in ManifestFormParser.json_fields else "."),
    )
    for name in (
        *("on_error", "defaults", "metadata", "callback_url"),
        *("expires_at", "expires_in_seconds"),
    )
]


class ManifestInput(BatchSettingsInput):
    """A manifest and the settings of the batch."""

    file = serializers.FileField(allow_empty_file=True)

    def submission(self, *, caller: Caller, now: datetime) -> BatchSubmission:
        """Return the submission; the lines of the manifest are not checked yet."""
        rules = self.rules(caller=caller, now=now)
        file = self.validated_data["file"]
        fields = {name: self.initial_data[name] for name in self.validated_data}
        del fields["file"]
        return BatchSubmission(
            batch=self.batch(rules),
            rules=rules,
            skips_invalid_items=self.skips_invalid_items,
            digest=idempotency.compute_digest(
                [fields, digest_of(file, sha256=file.sha256)]
            ),
            check=partial(item_file.check_manifest, file, rules),
        )


# The media types of a request's body, for the OpenAPI document.
BODIES = {
    "application/json": BatchInput,
    "multipart/form-data": ManifestInput,
    **dict.fromkeys(KINDS, OpenApiTypes.BINARY),
}


@contextmanager
def read_submission(
    request: Request, *, caller: Caller, now: datetime
) -> Iterator[BatchSubmission]:
    """Yield the submission of a request; a manifest's file exists during the block.

    Raises InvalidRequest for errors outside its items, UploadTooLarge, or
    ServiceUnavailable if too many uploads are being checked.
    """
    if not is_manifest(request):
        check_no_parameters(request)
        form = BatchInput(data=request.data, context={"tenant": caller.tenant})
        yield _check(form, caller=caller, now=now)
        return
    body: dict[str, Any] = cast("dict[str, Any]", request.data)
    try:
        if is_form(request):
            check_no_parameters(request)
            manifest = ManifestInput(data=body, context={"tenant": caller.tenant})
            submission = _check(manifest, caller=caller, now=now)
        else:
            submission = _check_raw(body, request.query_params, caller=caller, now=now)
        with thread_limits.reserve_probing_thread(caller.tenant.pk):
            yield submission
    finally:
        if hasattr(body.get("file"), "close"):
            body["file"].close()


def _check(
    serializer: BatchInput | ManifestInput, *, caller: Caller, now: datetime
) -> BatchSubmission:
    serializer.is_valid(raise_exception=True)
    return serializer.submission(caller=caller, now=now)


def _check_raw(
    body: Mapping[str, Any],
    params: Mapping[str, str],
    *,
    caller: Caller,
    now: datetime,
) -> BatchSubmission:
    if "file" not in body:
        manifests_reader.refuse_empty()
    try:
        serializer = ManifestInput(
            data={**_read_query(params), **body}, context={"tenant": caller.tenant}
        )
        return _check(serializer, caller=caller, now=now)
    except (InvalidRequest, serializers.ValidationError) as error:
        errors = [_as_parameter_error(each) for each in to_field_errors(error)]
        raise ValidationErrors(errors) from None


def is_form(request: Request) -> bool:
    """Return whether the request is a form with a manifest."""
    return base_type(request.content_type or "") == "multipart/form-data"


def is_manifest(request: Request) -> bool:
    """Return whether the request has a manifest, as a form or as the body."""
    return is_form(request) or base_type(request.content_type or "") in KINDS


def _read_query(params: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: loads_strictly(text.encode(), pointer=pointer_to(name))
        if name in ManifestFormParser.json_fields
        else text
        for name, text in params.items()
    }


def _as_parameter_error(error: FieldError) -> FieldError:
    return replace(error, pointer=f"?{error.pointer.removeprefix('/')}")
