"""OpenAPI descriptions of the API keys endpoints and of ``/v1/me``."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from jobs.api.keys.serializers import (
    ApiKeyOutput,
    ApiKeyPage,
    IssuedKeyOutput,
    KeyChangeInput,
    KeyInput,
    MeOutput,
    RotationInput,
)
from jobs.rest.openapi import (
    CURSOR,
    IDEMPOTENCY_PARAMETER,
    PAGE_PARAMETERS,
    examples,
    page_of,
    problems,
)

_KEY_ID = OpenApiParameter(
    "key_id",
    {"type": "string", "pattern": "^[0-9A-Za-z]{8}$"},
    OpenApiParameter.PATH,
    description="The public id of the key: the eight characters after `tp_live_`.",
)
_HEADERS = [
    OpenApiParameter(
        name,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        response=[201],
        description=description,
    )
    for name, description in (
        ("Location", "The URL of the key."),
        ("Idempotency-Replayed", "`true` if this repeats an earlier response."),
    )
]
_SHOWN = {
    "object": "api_key",
    "id": "5tXk0aQz",
    "name": "billing export",
    "scopes": ["jobs:read", "usage:read"],
    "allowed_ips": ["192.0.2.0/24"],
    "expires_at": "2027-01-31T12:00:00Z",
    "created_at": "2026-01-31T12:00:00Z",
    "last_used_at": None,
    "revoked_at": None,
    "replaced_by": None,
}
_ISSUED = {**_SHOWN, "key": "tp_live_5tXk0aQz_(40 characters)(6 of a checksum)"}

_ME = {
    "tenant": {"id": "01979c00-1d2f-7000-8000-8b7b3cb5a001", "name": "Example Ltd"},
    "api_key": {
        "id": "4f7Kq0aZ",
        "name": "production",
        "scopes": ["jobs:read", "jobs:write"],
        "allowed_ips": [],
        "expires_at": None,
        "created_at": "2026-01-15T08:00:00Z",
    },
}

CREATE: dict[str, Any] = {
    "operation_id": "create_api_key",
    "request": KeyInput,
    "responses": {
        (201, "application/json"): IssuedKeyOutput,
        **problems(409, 411, 413, 415, 422),
    },
    "parameters": [IDEMPOTENCY_PARAMETER, *_HEADERS],
    "examples": examples(
        sent={
            "name": "billing export",
            "scopes": ["jobs:read", "usage:read"],
            "allowed_ips": ["192.0.2.0/24"],
            "expires_in_seconds": 31_536_000,
        },
        answers={201: _ISSUED},
    ),
}
LIST: dict[str, Any] = {
    "operation_id": "list_api_keys",
    "responses": {(200, "application/json"): ApiKeyPage, **problems()},
    "parameters": PAGE_PARAMETERS,
    "examples": examples(answers={200: page_of(_SHOWN, next_cursor=CURSOR)}),
}
DETAIL: dict[str, Any] = {
    "operation_id": "get_api_key",
    "responses": {(200, "application/json"): ApiKeyOutput, **problems(404)},
    "parameters": [_KEY_ID],
    "examples": examples(answers={200: _SHOWN}),
}
CHANGE: dict[str, Any] = {
    "operation_id": "change_api_key",
    "request": KeyChangeInput,
    "responses": {
        (200, "application/json"): ApiKeyOutput,
        **problems(404, 409, 411, 413, 415),
    },
    "parameters": [_KEY_ID],
    "examples": examples(
        sent={"allowed_ips": ["192.0.2.17", "2001:db8::/48"]}, answers={200: _SHOWN}
    ),
}
REVOKE: dict[str, Any] = {
    "operation_id": "revoke_api_key",
    "request": None,
    "responses": {204: None, **problems(404)},
    "parameters": [_KEY_ID],
}
ROTATE: dict[str, Any] = {
    "operation_id": "rotate_api_key",
    "request": RotationInput,
    "responses": {
        (201, "application/json"): IssuedKeyOutput,
        **problems(404, 409, 411, 413, 415, 422),
    },
    "parameters": [_KEY_ID, IDEMPOTENCY_PARAMETER, *_HEADERS],
    "examples": examples(sent={"overlap_seconds": 3600}, answers={201: _ISSUED}),
}
ME: dict[str, Any] = {
    "operation_id": "get_me",
    "responses": {(200, "application/json"): MeOutput, **problems()},
    "examples": examples(answers={200: _ME}),
}
