"""The API keys endpoints. No stored response contains a key."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.accounts import audit, keys
from jobs.accounts.caller import Caller
from jobs.api.keys import serializers
from jobs.models import ApiKey
from jobs.rest.idempotency import IdempotentRequest, StoredResponse, compute_digest
from jobs.rest.openapi import (
    IDEMPOTENCY_PARAMETER,
    PAGE_PARAMETERS,
    document,
    header,
    page,
)
from jobs.rest.pagination import respond_list
from jobs.rest.views import (
    ApiView,
    check_no_body,
    get_actor,
    get_api_key,
    get_caller,
    get_tenant,
    respond,
    validate,
)

_ADMIN = "keys:admin"
_KEY_ID = OpenApiParameter(
    "key_id",
    {"type": "string", "pattern": "^[0-9A-Za-z]{8}$"},
    OpenApiParameter.PATH,
    description="The public id of the key: the eight characters after `tp_live_`.",
)
_HEADERS = [
    IDEMPOTENCY_PARAMETER,
    header("Location", "The URL of the key.", 201),
    header("Idempotency-Replayed", "`true` if this repeats an earlier response.", 201),
]


class KeyView(ApiView):
    """Base of the views of API keys."""

    required_scopes = {"GET": _ADMIN, "POST": _ADMIN, "PATCH": _ADMIN, "DELETE": _ADMIN}


class KeyList(KeyView):
    """A tenant's API keys."""

    @document(
        "create_api_key",
        {201: serializers.IssuedKeyOutput},
        request=serializers.KeyInput,
        parameters=_HEADERS,
    )
    def post(self, request: Request) -> Response:
        """Create an API key.

        The response contains the key, which is not shown again. Scopes, networks and
        expiry must be within those of the calling key.
        """
        now = timezone.now()
        form = validate(request, serializers.KeyInput)
        draft, caller = form.draft(now=now), get_caller(request)
        issue = partial(
            keys.issue_key,
            tenant=caller.tenant,
            draft=draft,
            actor=caller.actor,
            now=now,
            holder=caller.api_key,
        )
        return _issue_once(caller, issue, request=request, route="issue key", now=now)

    @document(
        "list_api_keys",
        page(serializers.ApiKeyOutput, "One page of a tenant's keys, newest first."),
        parameters=PAGE_PARAMETERS,
    )
    def get(self, request: Request) -> Response:
        """List API keys. Newest first, including revoked and expired keys."""
        found = keys.find_keys(tenant=get_tenant(request))
        return respond_list(
            request, found, serializers.ApiKeyOutput, list_name="api-keys"
        )


class KeyDetail(KeyView):
    """One API key."""

    @document(
        "get_api_key",
        serializers.ApiKeyOutput,
        parameters=[_KEY_ID],
    )
    def get(self, request: Request, key_id: str) -> Response:
        """Get an API key."""
        key = keys.get_key(tenant=get_tenant(request), public_id=key_id)
        return Response(serializers.ApiKeyOutput(key).data)

    @document(
        "change_api_key",
        serializers.ApiKeyOutput,
        request=serializers.KeyChangeInput,
        problems=(409,),
        parameters=[_KEY_ID],
    )
    def patch(self, request: Request, key_id: str) -> Response:
        """Update an API key.

        Changes `name` or `allowed_ips`, or moves the expiry to an earlier time.
        """
        now, holder = timezone.now(), get_api_key(request)
        form = validate(request, serializers.KeyChangeInput)
        changed = keys.change_key(
            key=keys.get_key(tenant=get_tenant(request), public_id=key_id),
            changes=form.changes(now=now),
            actor=audit.get_actor(holder),
            now=now,
            holder=holder,
        )
        return Response(serializers.ApiKeyOutput(changed).data)

    @document("revoke_api_key", {204: None}, parameters=[_KEY_ID])
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke an API key.

        Takes effect immediately and cannot be undone. A key may revoke itself, even if
        it is the tenant's last key.
        """
        check_no_body(request)
        keys.revoke_key(
            key=keys.get_key(tenant=get_tenant(request), public_id=key_id),
            actor=get_actor(request),
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class KeyRotation(KeyView):
    """The rotation of one API key."""

    @document(
        "rotate_api_key",
        {201: serializers.IssuedKeyOutput},
        request=serializers.RotationInput,
        parameters=[_KEY_ID, *_HEADERS],
    )
    def post(self, request: Request, key_id: str) -> Response:
        """Rotate an API key.

        Creates a key with the same permissions. Both keys work until the overlap ends.
        """
        now = timezone.now()
        form = validate(request, serializers.RotationInput)
        rotation, caller = form.rotation(now=now), get_caller(request)
        key = keys.get_key(tenant=caller.tenant, public_id=key_id)
        rotate = partial(
            keys.rotate_key,
            key=key,
            rotation=rotation,
            actor=caller.actor,
            now=now,
            holder=caller.api_key,
        )
        route = f"rotate {key.pk}"
        return _issue_once(caller, rotate, request=request, route=route, now=now)


class Me(ApiView):
    """The calling API key and its tenant."""

    @document("get_me", serializers.MeOutput)
    def get(self, request: Request) -> Response:
        """Get the calling API key and its tenant."""
        me = {"tenant": get_tenant(request), "api_key": get_api_key(request)}
        return Response(serializers.MeOutput(me).data)


def _issue_once(
    caller: Caller,
    issue: Callable[[], tuple[ApiKey, str]],
    *,
    request: Request,
    route: str,
    now: datetime,
) -> Response:
    """Respond with the new key; a repeated request gets null instead of its text."""
    idempotent = IdempotentRequest(
        tenant=caller.tenant,
        route=route,
        key=caller.key,
        digest=compute_digest(request.data),
        now=now,
    )
    text = None
    with idempotent.lock() as stored:
        if stored is None:
            key, text = issue()
            issued = StoredResponse(
                status_code=status.HTTP_201_CREATED,
                body=dict(serializers.ApiKeyOutput(key).data),
                location=f"/v1/api-keys/{key.public_id}",
            )
            idempotent.store(issued)
    is_replay = stored is not None
    response = respond(stored or issued, replayed=is_replay, retry_after=0, key=text)
    response.headers["Cache-Control"] = "no-store"
    return response
