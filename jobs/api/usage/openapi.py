"""OpenAPI descriptions of the usage endpoints."""

from typing import Any

from drf_spectacular.types import OpenApiTypes

from jobs.api.usage.serializers import QuotaPage, UsageOutput
from jobs.quotas.usage import GROUPS
from jobs.rest.openapi import examples, problems, query_parameter

JSON = "application/json"
CSV = "text/csv"

_SUMS = {
    "jobs": 120,
    "calls": 123,
    "failed_calls": 2,
    "unknown_calls": 1,
    "audio_seconds": 43211.5,
    "cost_estimate": "3.096824",
}
_USAGE = {
    "from": "2026-03-01",
    "to": "2026-03-31",
    "object": "usage",
    "group_by": ["day", "model"],
    "data": [{**_SUMS, "day": "2026-03-01", "model": "nova-3"}],
    "totals": _SUMS,
}
_CSV = (
    "day,model,jobs,calls,failed_calls,unknown_calls,audio_seconds,cost_estimate\r\n"
    "2026-03-01,nova-3,120,123,2,1,43211.500,3.096824\r\n"
)
_QUOTAS = {
    "data": [
        {
            "name": "audio_seconds_per_day",
            "limit": 36000,
            "used": 1200.5,
            "reserved": 300.0,
            "remaining": 34499.5,
            "resets_at": "2026-03-02T00:00:00Z",
        },
        {
            "name": "max_open_jobs",
            "limit": 500,
            "used": 0.0,
            "reserved": 1.0,
            "remaining": 499.0,
            "resets_at": None,
        },
    ]
}

REPORT: dict[str, Any] = {
    "operation_id": "get_usage",
    "parameters": [
        query_parameter("from", OpenApiTypes.DATE, description="First day (UTC)."),
        query_parameter("to", OpenApiTypes.DATE, description="Last day (UTC)."),
        query_parameter(
            "group_by",
            description=f"Comma-separated: {', '.join(GROUPS)}.",
            default="day",
        ),
        query_parameter("format", enum=["json", "csv"]),
    ],
    "responses": {
        (200, JSON): UsageOutput,
        (200, CSV): OpenApiTypes.STR,
        **problems(),
    },
    "examples": examples(answers={200: _USAGE, (200, CSV): _CSV}),
}
QUOTAS: dict[str, Any] = {
    "operation_id": "list_quotas",
    "responses": {(200, JSON): QuotaPage, **problems()},
    "examples": examples(answers={200: _QUOTAS}),
}
