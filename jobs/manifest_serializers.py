"""The settings that come with a manifest: in its form, or in the query string."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from jobs import manifests
from jobs.api import check_no_parameters
from jobs.batch_serializers import BatchSettingsInput
from jobs.errors import Fault, InvalidRequest, ManyFaults
from jobs.faults import faults_of
from jobs.intake import Caller
from jobs.manifest_intake import ManifestSubmission as Submission
from jobs.manifest_upload import KINDS, ManifestFormParser, base_type
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
        description="With a manifest as the body: as the field of a form"
        + (", in JSON." if name in ManifestFormParser.json_fields else "."),
    )
    for name in PARAMETERS
]


class ManifestInput(BatchSettingsInput):
    """A manifest, and what is said of the batch as a whole."""

    file = serializers.FileField(allow_empty_file=True)
    on_error = serializers.ChoiceField(
        choices=["reject", "skip"],
        required=False,
        help_text="`reject`: one bad line, and nothing is made. `skip`: they are left"
        " out and listed.",
    )

    def submission(self, *, caller: Caller, now: datetime) -> Submission:
        """Return the checked request."""
        asked: dict[str, Any] = self.validated_data
        rules = self.rules(caller=caller, now=now)
        return Submission(
            file=asked["file"],
            batch=self.batch(rules),
            rules=rules,
            skips_bad_lines=asked.get("on_error") == "skip",
            body={name: self.initial_data[name] for name in asked if name != "file"},
        )


def read_manifest(request: Request, *, caller: Caller, now: datetime) -> Submission:
    """Read the body to disk, and check all but its lines; raises InvalidRequest.

    Closing the file is the caller's, unless this raises.
    """
    body: dict[str, Any] = cast("dict[str, Any]", request.data)
    try:
        if is_form(request):
            check_no_parameters(request)
            return _check(body, caller=caller, now=now)
        return _check_raw(body, request.query_params, caller=caller, now=now)
    except BaseException:
        if "file" in body and hasattr(body["file"], "close"):
            body["file"].close()
        raise


def _check(body: Mapping[str, Any], *, caller: Caller, now: datetime) -> Submission:
    asked = ManifestInput(data=body)
    asked.is_valid(raise_exception=True)
    return asked.submission(caller=caller, now=now)


def _check_raw(
    body: Mapping[str, Any],
    params: Mapping[str, str],
    *,
    caller: Caller,
    now: datetime,
) -> Submission:
    if "file" not in body:
        manifests.refuse_emptiness()
    try:
        return _check({**_read_query(params), **body}, caller=caller, now=now)
    except (InvalidRequest, serializers.ValidationError) as error:
        found = [_of_parameter(fault) for fault in faults_of(error)]
        raise ManyFaults(found) from None


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


def _of_parameter(fault: Fault) -> Fault:
    return replace(fault, pointer=f"?{fault.pointer.removeprefix('/')}")
