"""The audit events endpoint: changes to a tenant's resources, read-only."""

import re
from collections.abc import Mapping

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.accounts import audit
from jobs.models import Event
from jobs.rest import filters, openapi, pagination
from jobs.rest.openapi import examples, page_of
from jobs.rest.pagination import PageQuery, respond_page
from jobs.rest.serializers import ObjectTypeField, PageOutput
from jobs.rest.views import ApiView, get_tenant, refuse_parameter

PARAMETERS = (*pagination.PARAMETERS, "type", "created_after", "created_before")
_TYPE = re.compile(r"[a-z_]{1,20}\.[a-z_]{1,19}")
_EXAMPLE = {
    "object": "audit_event",
    "id": "019c13a0-9a70-7c3e-8f8e-3f4f5a6b7c8d",
    "type": "api_key.revoked",
    "actor": "key:5tXk0aQz",
    "job_id": None,
    "data": {"key": "Ab3dEf9h"},
    "created_at": "2026-01-31T12:00:00Z",
}


class AuditEventOutput(serializers.ModelSerializer[Event]):
    """One action; ``actor`` is a key (``key:<id>``), an operator or a command."""

    object = ObjectTypeField("audit_event")
    job_id = serializers.UUIDField(allow_null=True)
    data = serializers.DictField()  # type: ignore[assignment]  # a field of that name

    class Meta:
        model = Event
        fields = ["object", "id", "type", "actor", "job_id", "data", "created_at"]
        read_only_fields = fields


class AuditEventPage(PageOutput):
    """One page of audit events, newest first."""

    data = AuditEventOutput(many=True)  # type: ignore[assignment]


class AuditEventList(ApiView):
    """The audit events of a tenant."""

    required_scopes = {"GET": "keys:admin"}
    query_parameters = {"GET": PARAMETERS}

    @extend_schema(
        operation_id="list_audit_events",
        responses={(200, "application/json"): AuditEventPage, **openapi.problems()},
        parameters=[
            *openapi.PAGE_PARAMETERS,
            openapi.query_parameter(
                "type", description="For example `api_key.revoked`."
            ),
            openapi.query_parameter("created_after", OpenApiTypes.DATETIME),
            openapi.query_parameter("created_before", OpenApiTypes.DATETIME),
        ],
        examples=examples(answers={200: page_of(_EXAMPLE)}),
    )
    def get(self, request: Request) -> Response:
        """List audit events.

        Newest first. Submitted jobs are not included: see `GET /v1/jobs`.
        """
        tenant, params = get_tenant(request), request.query_params
        page = PageQuery.parse(params, owner=tenant.pk, list_name="audit-events")
        events = audit.find_events(tenant=tenant, filters=_parse_filter(params))
        return respond_page(request, events, page, AuditEventOutput)


def _parse_filter(params: Mapping[str, str]) -> audit.EventFilter:
    event_type = params.get("type", "")
    if "type" in params and not _TYPE.fullmatch(event_type):
        refuse_parameter("type", "Must be a type such as api_key.revoked.")
    return audit.EventFilter(
        type=event_type,
        created_after=filters.parse_moment(params, "created_after"),
        created_before=filters.parse_moment(params, "created_before"),
    )
