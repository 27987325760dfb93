"""The usage endpoints: usage report and quotas."""

from datetime import UTC

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api.usage.csv_report import format_csv
from jobs.api.usage.query import parse_usage_query
from jobs.api.usage.serializers import QuotaPage, UsageOutput
from jobs.quotas import counters as quota_counts
from jobs.quotas import usage
from jobs.rest.negotiation import FormatNegotiation, build_renderer
from jobs.rest.openapi import comma_separated, document, query_parameter
from jobs.rest.serializers import CURRENCY
from jobs.rest.views import ApiView, get_tenant

SCOPES = {"GET": "usage:read"}


CSV = "text/csv"


class UsageReport(ApiView):
    """The usage report of a tenant."""

    required_scopes = SCOPES
    content_negotiation_class = FormatNegotiation
    renderer_classes = (JSONRenderer, build_renderer(CSV, "csv"))

    @document(
        "get_usage",
        {200: UsageOutput, (200, CSV): OpenApiTypes.STR},
        parameters=[
            query_parameter("from", OpenApiTypes.DATE, description="First day (UTC)."),
            query_parameter("to", OpenApiTypes.DATE, description="Last day (UTC)."),
            query_parameter(
                "group_by",
                comma_separated(usage.GROUPS),
                description=f"Comma-separated: {', '.join(usage.GROUPS)}.",
                default="day",
            ),
            query_parameter("format", enum=["json", "csv"]),
        ],
    )
    def get(self, request: Request) -> Response:
        """Get usage.

        Sums the upstream calls of a range of days by group, as JSON or CSV.
        """
        today = timezone.now().astimezone(UTC).date()
        query = parse_usage_query(request.query_params, today=today)
        found = usage.find_usage(tenant=get_tenant(request), query=query)
        if request.accepted_renderer.format == "csv":
            columns = [*query.group_by, *usage.MEASURES, "currency"]
            rows = [{**row, "currency": CURRENCY} for row in found.rows]
            name = f"usage-{query.since}-{query.until}.csv"
            disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
            report = format_csv(columns, rows).encode()
            return Response(report, headers=disposition)
        return Response(UsageOutput(found).data)


class Quotas(ApiView):
    """The quotas of a tenant."""

    required_scopes = SCOPES

    @document("list_quotas", QuotaPage)
    def get(self, request: Request) -> Response:
        """List quotas. Shows what is used, reserved and left of each quota."""
        found = quota_counts.read_quotas(tenant=get_tenant(request), now=timezone.now())
        return Response(QuotaPage({"data": found}).data)
