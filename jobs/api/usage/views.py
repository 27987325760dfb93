"""The usage endpoints: usage report and quotas."""

from datetime import UTC
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api.usage import openapi as usage_schema
from jobs.api.usage.csv_report import format_csv
from jobs.api.usage.query import PARAMETERS, parse_usage_query
from jobs.api.usage.serializers import QuotaPage, UsageOutput
from jobs.quotas import counters as quota_counts
from jobs.quotas import usage
from jobs.rest.negotiation import FormatNegotiation
from jobs.rest.views import ApiView, get_tenant

SCOPES = {"GET": "usage:read"}


class CsvRenderer(BaseRenderer):
    """Renders a usage report as CSV."""

    media_type = usage_schema.CSV
    format = "csv"

    def render(self, data: Any, *_context: Any, **_more: Any) -> bytes:
        """Return the encoded text."""
        return str(data).encode()


class UsageReport(ApiView):
    """The usage report of a tenant."""

    required_scopes = SCOPES
    query_parameters = {"GET": PARAMETERS}
    content_negotiation_class = FormatNegotiation
    renderer_classes = (JSONRenderer, CsvRenderer)

    @extend_schema(**usage_schema.REPORT)
    def get(self, request: Request) -> Response:
        """Get usage.

        Sums the upstream calls of a range of days by group, as JSON or CSV.
        """
        today = timezone.now().astimezone(UTC).date()
        query = parse_usage_query(request.query_params, today=today)
        found = usage.find_usage(tenant=get_tenant(request), query=query)
        if request.accepted_renderer.format == CsvRenderer.format:
            columns = [*query.group_by, *usage.MEASURES]
            name = f"usage-{query.since}-{query.until}.csv"
            disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(format_csv(columns, found.rows), headers=disposition)
        return Response(UsageOutput(found).data)


class Quotas(ApiView):
    """The quotas of a tenant."""

    required_scopes = SCOPES

    @extend_schema(**usage_schema.QUOTAS)
    def get(self, request: Request) -> Response:
        """List quotas. Shows what is used, reserved and left of each quota."""
        found = quota_counts.read_quotas(tenant=get_tenant(request), now=timezone.now())
        return Response(QuotaPage({"data": found}).data)
