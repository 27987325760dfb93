"""The endpoints API: where a tenant is told, and with which secret.

Each view calls one service. What was sent and what came of it is ``delivery_views``'.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.rest import pagination
from jobs.rest.idempotency import StoredResponse
from jobs.rest.pagination import PageQuery, respond_page
from jobs.rest.views import ApiView, caller_of, check_no_body, tenant_of
from workers.webhooks.api import openapi as api_openapi
from workers.webhooks.api import serializers
from workers.webhooks.endpoints import services as endpoint_services
from workers.webhooks.endpoints.answer_once import SecretRequest, SecretResponse
from workers.webhooks.messages import secrets
from workers.webhooks.messages.payloads import message_id
from workers.webhooks.messages.secrets import RotatedSecret
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

SCOPES = {
    "GET": "webhooks:read",
    "POST": "webhooks:write",
    "PATCH": "webhooks:write",
    "DELETE": "webhooks:write",
}


class EndpointList(ApiView):
    """A tenant's endpoints."""

    required_scopes = SCOPES
    query_parameters = {"GET": pagination.PARAMETERS}

    @extend_schema(**api_openapi.CREATE)
    def post(self, request: Request) -> Response:
        """Create a webhook endpoint.

        The response contains the signing secret, which is not shown again.
        """
        asked = serializers.EndpointInput(data=request.data)
        asked.is_valid(raise_exception=True)
        fields = dict(asked.validated_data)
        made = endpoint_services.create_endpoint(
            once=build_once(request, answer=created),
            secret=fields.pop("secret", ""),
            fields=fields,
        )
        return respond(made, secret=made.secret or None)

    @extend_schema(**api_openapi.LIST)
    def get(self, request: Request) -> Response:
        """List webhook endpoints. Newest first."""
        tenant = tenant_of(request)
        page = PageQuery.parse(
            request.query_params, owner=tenant.pk, of="webhook-endpoints"
        )
        rows = endpoint_services.find_endpoints(tenant)
        return respond_page(request, rows, page, serializers.EndpointOutput)


class EndpointDetail(ApiView):
    """One endpoint."""

    required_scopes = SCOPES

    @extend_schema(**api_openapi.DETAIL)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """Get a webhook endpoint."""
        endpoint = endpoint_services.get_endpoint(
            tenant=tenant_of(request), endpoint_id=endpoint_id
        )
        return Response(serializers.EndpointOutput(endpoint).data)

    @extend_schema(**api_openapi.UPDATE)
    def patch(self, request: Request, endpoint_id: UUID) -> Response:
        """Update a webhook endpoint. Pending messages are sent to the new URL."""
        asked = serializers.EndpointChanges(data=request.data)
        asked.is_valid(raise_exception=True)
        endpoint = endpoint_services.update_endpoint(
            caller=caller_of(request),
            endpoint_id=endpoint_id,
            fields=asked.validated_data,
            now=timezone.now(),
        )
        return Response(serializers.EndpointOutput(endpoint).data)

    @extend_schema(**api_openapi.DELETE)
    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        """Delete a webhook endpoint. Pending messages are discarded."""
        check_no_body(request)
        endpoint_services.delete_endpoint(
            caller=caller_of(request), endpoint_id=endpoint_id, now=timezone.now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class EndpointSecret(ApiView):
    """The secret of one endpoint."""

    required_scopes = SCOPES

    @extend_schema(**api_openapi.ROTATE)
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Rotate the signing secret of a webhook endpoint.

        The previous secret also signs until its grace period ends.
        """
        asked = serializers.SecretRotationInput(data=request.data)
        asked.is_valid(raise_exception=True)
        made = endpoint_services.rotate_endpoint_secret(
            once=build_once(request, answer=rotated),
            endpoint_id=endpoint_id,
            rotation=asked.rotation(),
        )
        return respond(made, secret=made.secret or None)


class EndpointPing(ApiView):
    """A test of one endpoint."""

    required_scopes = SCOPES

    @extend_schema(**api_openapi.PING)
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Send a test message to a webhook endpoint.

        Sends `webhook.ping`, whatever event types the endpoint has.
        """
        check_no_body(request)
        made = endpoint_services.ping_endpoint(
            once=build_once(request, answer=pinged), endpoint_id=endpoint_id
        )
        return respond(made)


class TenantSecret(ApiView):
    """The secret that signs messages to jobs' callback URLs."""

    required_scopes = SCOPES

    @extend_schema(**api_openapi.TENANT_SECRET)
    def get(self, request: Request) -> Response:
        """Get the validity of the callback signing secrets.

        Shows from when and until when each secret signs, not the secrets.
        """
        live = secrets.find_live_secrets(tenant_of(request), now=timezone.now())
        shown = {"object": "webhook_secret", "live": live}
        return Response(serializers.TenantSecretOutput(shown).data)


class TenantSecretRotation(ApiView):
    """The replacement of that secret."""

    required_scopes = SCOPES

    @extend_schema(**api_openapi.ROTATE_TENANT)
    def post(self, request: Request) -> Response:
        """Rotate the callback signing secret.

        The previous secret also signs until its grace period ends.
        """
        asked = serializers.SecretRotationInput(data=request.data)
        asked.is_valid(raise_exception=True)
        made = endpoint_services.rotate_tenant_secret(
            once=build_once(request, answer=rotated), rotation=asked.rotation()
        )
        return respond(made, secret=made.secret or None)


def build_once(
    request: Request, *, answer: Callable[[Any], StoredResponse]
) -> SecretRequest:
    """Return the request as one to be answered once, at this moment."""
    return SecretRequest(
        caller=caller_of(request), now=timezone.now(), body=request.data, answer=answer
    )


def respond(made: SecretResponse, **shown: Any) -> Response:
    """Answer; ``shown`` is said this once and is not in what is kept of the answer."""
    headers = {"Idempotency-Replayed": "true"} if made.replayed else {}
    if made.answer.location:
        headers["Location"] = made.answer.location
    body = {**made.answer.body, **shown}
    return Response(body, status=made.answer.status_code, headers=headers)


def created(endpoint: WebhookEndpoint) -> StoredResponse:
    """Return what a new endpoint is answered with, but for its secret."""
    return StoredResponse(
        status_code=status.HTTP_201_CREATED,
        body=dict(serializers.EndpointOutput(endpoint).data),
        location=f"/v1/webhook-endpoints/{endpoint.pk}",
    )


def rotated(rotated: RotatedSecret) -> StoredResponse:
    """Return what a rotation is answered with, but for the secret."""
    shown = {
        "object": "webhook_secret",
        "endpoint_id": rotated.endpoint_id,
        "secret": None,
        "created_at": rotated.created_at,
        "previous_expires_at": rotated.previous_expires_at,
    }
    return StoredResponse(
        status_code=status.HTTP_200_OK, body=dict(serializers.RotatedOutput(shown).data)
    )


def pinged(delivery: WebhookDelivery) -> StoredResponse:
    """Return what a ping is answered with."""
    shown = {
        "delivery_id": delivery.pk,
        "message_id": message_id(delivery.event_id),
        "endpoint_id": delivery.endpoint_id,
    }
    return StoredResponse(
        status_code=status.HTTP_202_ACCEPTED,
        body=dict(serializers.PingOutput(shown).data),
    )
