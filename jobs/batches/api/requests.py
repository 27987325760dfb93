"""What a request for a batch asks for: a list in JSON, a manifest in a form, or one as
the body itself, with its settings in the query string.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, cast

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from jobs.accounts.caller import Caller
from jobs.batches import item_file
from jobs.batches.api.serializers import BatchInput, BatchSettingsInput
from jobs.batches.manifests import reader as manifests_reader
from jobs.batches.manifests.lines import digest_of
from jobs.batches.manifests.upload import KINDS, ManifestFormParser, base_type
from jobs.batches.submission import BatchSubmission
from jobs.concurrency import thread_limits
from jobs.errors import FieldError, InvalidRequest, ValidationErrors
from jobs.rest import idempotency
from jobs.rest.field_errors import to_field_errors
from jobs.rest.views import check_no_parameters
from jobs.strict_json import loads_strictly, pointer_to

PARAMETERS = (
    *("on_error", "defaults", "metadata", "callback_url"),
    *("expires_at", "expires_in_seconds"),
)

QUERY = [
    OpenApiParameter(
        name,
        OpenApiTypes.STR,
        OpenApiParameter.QUERY,
        description="For a manifest body: same as the form field"
        + (", in JSON." if name in ManifestFormParser.json_fields else "."),
    )
    for name in PARAMETERS
]


class ManifestInput(BatchSettingsInput):
    """A manifest, and what is said of the batch as a whole."""

    file = serializers.FileField(allow_empty_file=True)

    def submission(self, *, caller: Caller, now: datetime) -> BatchSubmission:
        """Return the checked request; its lines are not looked at yet."""
        rules = self.rules(caller=caller, now=now)
        file = self.validated_data["file"]
        said = {name: self.initial_data[name] for name in self.validated_data}
        del said["file"]
        return BatchSubmission(
            batch=self.batch(rules),
            rules=rules,
            skips_bad_items=self.skips_bad_items,
            digest=idempotency.digest_of([said, digest_of(file, sha256=file.sha256)]),
            check=partial(item_file.check_manifest, file, rules),
        )


@contextmanager
def reading(
    request: Request, *, caller: Caller, now: datetime
) -> Iterator[BatchSubmission]:
    """Give what a request asks for; of a manifest, which is on disk meanwhile.

    Raises InvalidRequest for what is wrong with all but its items, UploadTooLarge, or
    ServiceUnavailable where too much is being examined.
    """
    if not is_manifest(request):
        check_no_parameters(request)
        yield _check(BatchInput(data=request.data), caller=caller, now=now)
        return
    body: dict[str, Any] = cast("dict[str, Any]", request.data)
    try:
        if is_form(request):
            check_no_parameters(request)
            submission = _check(ManifestInput(data=body), caller=caller, now=now)
        else:
            submission = _check_raw(body, request.query_params, caller=caller, now=now)
        with thread_limits.borrow_probing_thread(caller.tenant.pk):
            yield submission
    finally:
        if hasattr(body.get("file"), "close"):
            body["file"].close()


def _check(
    asked: BatchInput | ManifestInput, *, caller: Caller, now: datetime
) -> BatchSubmission:
    asked.is_valid(raise_exception=True)
    return asked.submission(caller=caller, now=now)


def _check_raw(
    body: Mapping[str, Any],
    params: Mapping[str, str],
    *,
    caller: Caller,
    now: datetime,
) -> BatchSubmission:
    if "file" not in body:
        manifests_reader.refuse_emptiness()
    try:
        asked = ManifestInput(data={**_read_query(params), **body})
        return _check(asked, caller=caller, now=now)
    except (InvalidRequest, serializers.ValidationError) as error:
        found = [_of_parameter(fault) for fault in to_field_errors(error)]
        raise ValidationErrors(found) from None


def is_form(request: Request) -> bool:
    """Tell a form from a manifest that is the body itself."""
    return base_type(request.content_type or "") == "multipart/form-data"


def is_manifest(request: Request) -> bool:
    """Tell a manifest, in either way, from a list in JSON."""
    return is_form(request) or base_type(request.content_type or "") in KINDS


def _read_query(params: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: loads_strictly(text.encode(), pointer=pointer_to(name))
        if name in ManifestFormParser.json_fields
        else text
        for name, text in params.items()
    }


def _of_parameter(fault: FieldError) -> FieldError:
    return replace(fault, pointer=f"?{fault.pointer.removeprefix('/')}")
