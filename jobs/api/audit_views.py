"""The audit events endpoint: changes to a tenant's resources, read-only."""

import re
from collections.abc import Mapping

from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.accounts import audit
from jobs.models import Event
from jobs.rest import filters
from jobs.rest.openapi import PAGE_PARAMETERS, document, page, query_parameter
from jobs.rest.pagination import respond_list
from jobs.rest.serializers import NullableTextField, ObjectTypeField
from jobs.rest.views import ApiView, get_tenant, refuse_parameter

_TYPE = re.compile(r"[a-z_]{1,20}\.[a-z_]{1,19}")


class AuditEventOutput(serializers.ModelSerializer[Event]):
    """One action; ``actor`` is a key (``key:<id>``), an operator or a command."""

    object = ObjectTypeField("audit_event")
    actor = NullableTextField()
    job_id = serializers.UUIDField(allow_null=True)
    data = serializers.DictField()  # type: ignore[assignment]  # a field of that name

    class Meta:
        model = Event
        fields = ["object", "id", "type", "actor", "job_id", "data", "created_at"]
        read_only_fields = fields


class AuditEventList(ApiView):
    """The audit events of a tenant."""

    required_scopes = {"GET": "keys:admin"}

    @document(
        "list_audit_events",
        page(AuditEventOutput, "One page of audit events, newest first."),
        parameters=[
            *PAGE_PARAMETERS,
            query_parameter(
                "type",
                {"type": "string", "pattern": f"^{_TYPE.pattern}$"},
                description="For example `api_key.revoked`.",
            ),
            query_parameter("created_after", OpenApiTypes.DATETIME),
            query_parameter("created_before", OpenApiTypes.DATETIME),
        ],
    )
    def get(self, request: Request) -> Response:
        """List audit events.

        Newest first. Submitted jobs are not included: see `GET /v1/jobs`.
        """
        filters = _parse_filter(request.query_params)
        events = audit.find_events(tenant=get_tenant(request), filters=filters)
        return respond_list(request, events, AuditEventOutput, list_name="audit-events")


def _parse_filter(params: Mapping[str, str]) -> audit.EventFilter:
    event_type = params.get("type", "")
    if "type" in params and not _TYPE.fullmatch(event_type):
        refuse_parameter("type", "Must be a type such as api_key.revoked.")
    return audit.EventFilter(
        type=event_type,
        created_after=filters.parse_moment(params, "created_after"),
        created_before=filters.parse_moment(params, "created_before"),
    )
