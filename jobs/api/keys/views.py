"""The API keys API. Each view calls one service; no answer is kept with a key in it."""

from collections.abc import Callable
from datetime import datetime

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.accounts import audit, keys
from jobs.api.keys import openapi as key_schema
from jobs.api.keys import serializers
from jobs.models import ApiKey
from jobs.rest import idempotency, pagination
from jobs.rest.idempotency import StoredResponse
from jobs.rest.pagination import PageQuery, respond_page
from jobs.rest.views import ApiView, caller_of, check_no_body, key_of, tenant_of

_ADMIN = "keys:admin"
SCOPES = {"GET": _ADMIN, "POST": _ADMIN, "PATCH": _ADMIN, "DELETE": _ADMIN}


class KeyList(ApiView):
    """A tenant's API keys."""

    required_scopes = SCOPES
    query_parameters = {"GET": pagination.PARAMETERS}

    @extend_schema(**key_schema.CREATE)
    def post(self, request: Request) -> Response:
        """Create an API key.

        The response contains the key, which is not shown again. Scopes, networks and
        expiry must be within those of the calling key.
        """
        now = timezone.now()
        asked = serializers.KeyInput(data=request.data)
        asked.is_valid(raise_exception=True)
        draft, holder = asked.draft(now=now), key_of(request)

        def issue() -> tuple[ApiKey, str]:
            return keys.issue_key(
                tenant=tenant_of(request),
                draft=draft,
                actor=audit.actor_of(holder),
                now=now,
                holder=holder,
            )

        return _issue_once(request, issue, route="issue key", now=now)

    @extend_schema(**key_schema.LIST)
    def get(self, request: Request) -> Response:
        """List API keys. Newest first, including revoked and expired keys."""
        tenant = tenant_of(request)
        page = PageQuery.parse(request.query_params, owner=tenant.pk, of="api-keys")
        found = keys.find_keys(tenant=tenant)
        return respond_page(request, found, page, serializers.ApiKeyOutput)


class KeyDetail(ApiView):
    """One API key."""

    required_scopes = SCOPES

    @extend_schema(**key_schema.DETAIL)
    def get(self, request: Request, key_id: str) -> Response:
        """Get an API key."""
        key = keys.get_key(tenant=tenant_of(request), public_id=key_id)
        return Response(serializers.ApiKeyOutput(key).data)

    @extend_schema(**key_schema.CHANGE)
    def patch(self, request: Request, key_id: str) -> Response:
        """Update an API key.

        Changes `name` or `allowed_ips`, or moves the expiry to an earlier time.
        """
        now, holder = timezone.now(), key_of(request)
        asked = serializers.KeyChangeInput(data=request.data)
        asked.is_valid(raise_exception=True)
        changed = keys.change_key(
            key=keys.get_key(tenant=tenant_of(request), public_id=key_id),
            changes=asked.changes(now=now),
            actor=audit.actor_of(holder),
            now=now,
            holder=holder,
        )
        return Response(serializers.ApiKeyOutput(changed).data)

    @extend_schema(**key_schema.REVOKE)
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke an API key.

        Takes effect immediately and cannot be undone. A key may revoke itself, even if
        it is the tenant's last key.
        """
        check_no_body(request)
        keys.revoke_key(
            key=keys.get_key(tenant=tenant_of(request), public_id=key_id),
            actor=audit.actor_of(key_of(request)),
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class KeyRotation(ApiView):
    """A key's handing over."""

    required_scopes = SCOPES

    @extend_schema(**key_schema.ROTATE)
    def post(self, request: Request, key_id: str) -> Response:
        """Rotate an API key.

        Creates a key with the same permissions. Both keys work until the overlap ends.
        """
        now, holder = timezone.now(), key_of(request)
        asked = serializers.RotationInput(data=request.data)
        asked.is_valid(raise_exception=True)
        rotation = asked.rotation(now=now)
        key = keys.get_key(tenant=tenant_of(request), public_id=key_id)

        def rotate() -> tuple[ApiKey, str]:
            return keys.rotate_key(
                key=key,
                rotation=rotation,
                actor=audit.actor_of(holder),
                now=now,
                holder=holder,
            )

        return _issue_once(request, rotate, route=f"rotate {key.pk}", now=now)


class Me(ApiView):
    """The calling API key and its tenant."""

    @extend_schema(**key_schema.ME)
    def get(self, request: Request) -> Response:
        """Get the calling API key and its tenant."""
        me = {"tenant": tenant_of(request), "api_key": key_of(request)}
        return Response(serializers.MeOutput(me).data)


def _issue_once(
    request: Request,
    issue: Callable[[], tuple[ApiKey, str]],
    *,
    route: str,
    now: datetime,
) -> Response:
    """Answer with a new key; a repeated answer is the same without the key's text."""
    caller, text = caller_of(request), None

    def make() -> StoredResponse:
        nonlocal text
        key, text = issue()
        return StoredResponse(
            status_code=status.HTTP_201_CREATED,
            body=dict(serializers.ApiKeyOutput(key).data),
            location=f"/v1/api-keys/{key.public_id}",
        )

    answer, replayed = idempotency.answer_once(
        tenant=caller.tenant,
        route=route,
        key=caller.key,
        digest=idempotency.digest_of(request.data),
        now=now,
        make=make,
    )
    headers = {"Location": answer.location, "Cache-Control": "no-store"}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    body = {**answer.body, "key": text}
    return Response(body, status=answer.status_code, headers=headers)
