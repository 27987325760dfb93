"""OpenAPI descriptions and examples of the endpoints API."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from jobs.rest.openapi import IDEMPOTENCY_PARAMETER, PAGE_PARAMETERS, problems
from workers.webhooks.api.serializers import (
    EndpointChanges,
    EndpointCreatedOutput,
    EndpointInput,
    EndpointOutput,
    EndpointPage,
    PingOutput,
    RotatedOutput,
    SecretRotationInput,
    TenantSecretOutput,
)

JSON = "application/json"
_ID = "0199f1c2-7d1a-7c3e-9a55-2f0c6b1d7e90"
_ENDPOINT: dict[str, Any] = {
    "id": _ID,
    "object": "webhook_endpoint",
    "url": "https://example.com/hooks/transcripts",
    "description": "production",
    "event_types": ["job.completed", "job.failed"],
    "payload": "full",
    "header_names": ["Authorization"],
    "max_concurrent": 10,
    "enabled": True,
    "disabled_reason": None,
    "disabled_at": None,
    "failures": 0,
    "failing_since": None,
    "created_at": "2026-11-25T12:00:00Z",
}
_ROTATED = {
    "object": "webhook_secret",
    "endpoint_id": _ID,
    "secret": "whsec_…",
    "created_at": "2026-11-25T12:00:00Z",
    "previous_expires_at": "2026-11-26T12:00:00Z",
}
_REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    response=[200, 201, 202],
    description="`true` if this response is replayed. It contains no secret then.",
)
_ONCE = [IDEMPOTENCY_PARAMETER, _REPLAYED]


def _request(name: str, value: dict[str, Any]) -> OpenApiExample:
    return OpenApiExample(name, value, request_only=True)


def _response(value: dict[str, Any], status: str = "200") -> OpenApiExample:
    return OpenApiExample(
        "Response", value, response_only=True, status_codes=[status], media_type=JSON
    )


CREATE: dict[str, Any] = {
    "operation_id": "create_webhook_endpoint",
    "request": EndpointInput,
    "responses": {
        (201, JSON): EndpointCreatedOutput,
        **problems(409, 411, 413, 415, 422),
    },
    "parameters": [
        *_ONCE,
        OpenApiParameter(
            "Location",
            OpenApiTypes.STR,
            OpenApiParameter.HEADER,
            response=[201],
            description="The URL of the new endpoint.",
        ),
    ],
    "examples": [
        _request("All events", {"url": "https://example.com/hooks"}),
        _request(
            "All fields",
            {
                "url": "https://example.com/hooks/transcripts",
                "description": "production",
                "event_types": ["job.completed", "job.failed"],
                "payload": "full",
                "headers": {"Authorization": "Bearer …"},
                "max_concurrent": 10,
            },
        ),
        _response({**_ENDPOINT, "secret": "whsec_…"}, "201"),
    ],
}
LIST: dict[str, Any] = {
    "operation_id": "list_webhook_endpoints",
    "responses": {(200, JSON): EndpointPage, **problems()},
    "parameters": PAGE_PARAMETERS,
    "examples": [
        _response({"data": [_ENDPOINT], "has_more": False, "next_cursor": None})
    ],
}
DETAIL: dict[str, Any] = {
    "operation_id": "get_webhook_endpoint",
    "responses": {(200, JSON): EndpointOutput, **problems(404)},
    "examples": [_response(_ENDPOINT)],
}
UPDATE: dict[str, Any] = {
    "operation_id": "update_webhook_endpoint",
    "request": EndpointChanges,
    "responses": {(200, JSON): EndpointOutput, **problems(404, 411, 413, 415)},
    "examples": [
        _request("Enable", {"enabled": True}),
        _request("Change one header", {"headers": {"Authorization": "Bearer …"}}),
        _response(_ENDPOINT),
    ],
}
DELETE: dict[str, Any] = {
    "operation_id": "delete_webhook_endpoint",
    "responses": {204: None, **problems(404)},
}
ROTATE: dict[str, Any] = {
    "operation_id": "rotate_webhook_endpoint_secret",
    "request": SecretRotationInput,
    "responses": {(200, JSON): RotatedOutput, **problems(404, 409, 411, 413, 415, 422)},
    "parameters": _ONCE,
    "examples": [
        _request("One hour of grace", {"grace_seconds": 3600}),
        _response(_ROTATED),
    ],
}
PING: dict[str, Any] = {
    "operation_id": "ping_webhook_endpoint",
    "request": None,
    "responses": {(202, JSON): PingOutput, **problems(404, 409, 422)},
    "parameters": _ONCE,
    "examples": [
        _response(
            {
                "delivery_id": "0199f1c2-8a00-7b11-8c1f-5a3d9e2b4c6d",
                "message_id": "msg_0199f1c289f0700d9b7c1f2e3d4c5b6a",
                "endpoint_id": _ID,
            },
            "202",
        )
    ],
}
TENANT_SECRET: dict[str, Any] = {
    "operation_id": "get_webhook_secret",
    "responses": {(200, JSON): TenantSecretOutput, **problems()},
    "examples": [
        _response(
            {
                "object": "webhook_secret",
                "live": [{"created_at": "2026-11-25T12:00:00Z", "expires_at": None}],
            }
        )
    ],
}
ROTATE_TENANT: dict[str, Any] = {
    "operation_id": "rotate_webhook_secret",
    "request": SecretRotationInput,
    "responses": {(200, JSON): RotatedOutput, **problems(409, 411, 413, 415, 422)},
    "parameters": _ONCE,
    "examples": [
        _request("Revoke the old secret at once", {"grace_seconds": 0}),
        _response({**_ROTATED, "endpoint_id": None}),
    ],
}
