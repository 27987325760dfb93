"""The audit API: who did what to a tenant's things. Only read, never changed."""

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
from jobs.rest.views import ApiView, refuse_parameter, tenant_of

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
    """Something that somebody did: a key (``key:<id>``), an operator, a command."""

    object = ObjectTypeField("audit_event")
    job_id = serializers.UUIDField(allow_null=True)
    data = serializers.DictField()  # type: ignore[assignment]  # a field of that name

    class Meta:
        model = Event
        fields = ["object", "id", "type", "actor", "job_id", "data", "created_at"]
        read_only_fields = fields


class AuditEventPage(PageOutput):
    """One page of what was done, newest first."""

    data = AuditEventOutput(many=True)  # type: ignore[assignment]


class AuditEventList(ApiView):
    """What was done, and by whom."""

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
        tenant, params = tenant_of(request), request.query_params
        page = PageQuery.parse(params, owner=tenant.pk, of="audit-events")
        wanted = _wanted(params)
        events = audit.find_events(tenant=tenant, wanted=wanted)
        return respond_page(request, events, page, AuditEventOutput)


def _wanted(params: Mapping[str, str]) -> audit.EventFilter:
    kind = params.get("type", "")
    if "type" in params and not _TYPE.fullmatch(kind):
        refuse_parameter("type", "This is a type such as api_key.revoked.")
    return audit.EventFilter(
        type=kind,
        created_after=filters.parse_moment(params, "created_after"),
        created_before=filters.parse_moment(params, "created_before"),
    )
