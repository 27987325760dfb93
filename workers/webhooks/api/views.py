"""The endpoints API: create, list, update, delete, ping, and rotate secrets."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.rest import pagination
from jobs.rest.idempotency import StoredResponse
from jobs.rest.openapi import (
    IDEMPOTENCY_PARAMETER,
    PAGE_PARAMETERS,
    document,
    header,
    page,
)
from jobs.rest.pagination import PageQuery, respond_page
from jobs.rest.views import ApiView, check_no_body, get_caller, get_tenant, respond
from workers.webhooks.api import serializers
from workers.webhooks.endpoints import services as endpoint_services
from workers.webhooks.endpoints.answer_once import SecretRequest, SecretResponse
from workers.webhooks.messages import secrets
from workers.webhooks.messages.payloads import message_id
from workers.webhooks.messages.secrets import RotatedSecret
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

_ONCE = [
    IDEMPOTENCY_PARAMETER,
    header(
        "Idempotency-Replayed",
        "`true` if this response is replayed. It contains no secret then.",
        *(200, 201, 202),
    ),
]
SCOPES = {
    "GET": "webhooks:read",
    "POST": "webhooks:write",
    "PATCH": "webhooks:write",
    "DELETE": "webhooks:write",
}


class EndpointList(ApiView):
    """`/v1/webhook-endpoints`."""

    required_scopes = SCOPES
    query_parameters = {"GET": pagination.PARAMETERS}

    @document(
        "create_webhook_endpoint",
        request=serializers.EndpointInput,
        responses={201: serializers.EndpointCreatedOutput},
        problems=(409, 411, 413, 415, 422),
        parameters=[*_ONCE, header("Location", "The URL of the new endpoint.", 201)],
    )
    def post(self, request: Request) -> Response:
        """Create a webhook endpoint.

        The response contains the signing secret, which is not shown again.
        """
        body = serializers.EndpointInput(data=request.data)
        body.is_valid(raise_exception=True)
        fields = dict(body.validated_data)
        result = endpoint_services.create_endpoint(
            once=_build_request(request, _build_created),
            secret=fields.pop("secret", ""),
            fields=fields,
        )
        return _respond(result, secret=result.secret or None)

    @document(
        "list_webhook_endpoints",
        responses={
            200: page(
                serializers.EndpointOutput,
                "One page of a tenant's endpoints, newest first.",
            )
        },
        parameters=PAGE_PARAMETERS,
    )
    def get(self, request: Request) -> Response:
        """List webhook endpoints. Newest first."""
        tenant = get_tenant(request)
        page = PageQuery.parse(
            request.query_params, owner=tenant.pk, list_name="webhook-endpoints"
        )
        rows = endpoint_services.find_endpoints(tenant)
        return respond_page(request, rows, page, serializers.EndpointOutput)


class EndpointDetail(ApiView):
    """`/v1/webhook-endpoints/{id}`."""

    required_scopes = SCOPES

    @document(
        "get_webhook_endpoint",
        responses={200: serializers.EndpointOutput},
        problems=(404,),
    )
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """Get a webhook endpoint."""
        endpoint = endpoint_services.get_endpoint(
            tenant=get_tenant(request), endpoint_id=endpoint_id
        )
        return Response(serializers.EndpointOutput(endpoint).data)

    @document(
        "update_webhook_endpoint",
        request=serializers.EndpointChanges,
        responses={200: serializers.EndpointOutput},
        problems=(404, 411, 413, 415),
    )
    def patch(self, request: Request, endpoint_id: UUID) -> Response:
        """Update a webhook endpoint. Pending messages are sent to the new URL."""
        body = serializers.EndpointChanges(data=request.data)
        body.is_valid(raise_exception=True)
        endpoint = endpoint_services.update_endpoint(
            caller=get_caller(request),
            endpoint_id=endpoint_id,
            fields=body.validated_data,
            now=timezone.now(),
        )
        return Response(serializers.EndpointOutput(endpoint).data)

    @document("delete_webhook_endpoint", responses={204: None}, problems=(404,))
    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        """Delete a webhook endpoint. Pending messages are discarded."""
        check_no_body(request)
        endpoint_services.delete_endpoint(
            caller=get_caller(request), endpoint_id=endpoint_id, now=timezone.now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class EndpointSecret(ApiView):
    """`/v1/webhook-endpoints/{id}/rotate-secret`."""

    required_scopes = SCOPES

    @document(
        "rotate_webhook_endpoint_secret",
        request=serializers.SecretRotationInput,
        responses={200: serializers.RotatedOutput},
        problems=(404, 409, 411, 413, 415, 422),
        parameters=_ONCE,
    )
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Rotate the signing secret of a webhook endpoint.

        The previous secret also signs until its grace period ends.
        """
        body = serializers.SecretRotationInput(data=request.data)
        body.is_valid(raise_exception=True)
        result = endpoint_services.rotate_endpoint_secret(
            once=_build_request(request, _build_rotated),
            endpoint_id=endpoint_id,
            rotation=body.rotation(),
        )
        return _respond(result, secret=result.secret or None)


class EndpointPing(ApiView):
    """`/v1/webhook-endpoints/{id}/ping`."""

    required_scopes = SCOPES

    @document(
        "ping_webhook_endpoint",
        responses={202: serializers.PingOutput},
        problems=(404, 409, 422),
        parameters=_ONCE,
    )
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Send a test message to a webhook endpoint.

        Sends `webhook.ping`, whatever event types the endpoint has.
        """
        check_no_body(request)
        result = endpoint_services.ping_endpoint(
            once=_build_request(request, _build_pinged), endpoint_id=endpoint_id
        )
        return _respond(result)


class TenantSecret(ApiView):
    """`/v1/webhook-secret`, which signs messages to jobs' callback URLs."""

    required_scopes = SCOPES

    @document("get_webhook_secret", responses={200: serializers.TenantSecretOutput})
    def get(self, request: Request) -> Response:
        """Get the validity of the callback signing secrets.

        Shows from when and until when each secret signs, not the secrets.
        """
        live = secrets.find_live_secrets(get_tenant(request), now=timezone.now())
        body = {"object": "webhook_secret", "live": live}
        return Response(serializers.TenantSecretOutput(body).data)


class TenantSecretRotation(ApiView):
    """`/v1/webhook-secret/rotate`."""

    required_scopes = SCOPES

    @document(
        "rotate_webhook_secret",
        request=serializers.SecretRotationInput,
        responses={200: serializers.RotatedOutput},
        problems=(409, 411, 413, 415, 422),
        parameters=_ONCE,
    )
    def post(self, request: Request) -> Response:
        """Rotate the callback signing secret.

        The previous secret also signs until its grace period ends.
        """
        body = serializers.SecretRotationInput(data=request.data)
        body.is_valid(raise_exception=True)
        result = endpoint_services.rotate_tenant_secret(
            once=_build_request(request, _build_rotated), rotation=body.rotation()
        )
        return _respond(result, secret=result.secret or None)


def _build_request(
    request: Request, build_response: Callable[[Any], StoredResponse]
) -> SecretRequest:
    return SecretRequest(
        caller=get_caller(request),
        now=timezone.now(),
        body=request.data,
        build_response=build_response,
    )


def _respond(result: SecretResponse, **unstored: Any) -> Response:
    """Return the stored response plus the fields that must not be stored."""
    return respond(
        result.response, replayed=result.is_replayed, retry_after=0, **unstored
    )


def _build_created(endpoint: WebhookEndpoint) -> StoredResponse:
    return StoredResponse(
        status_code=status.HTTP_201_CREATED,
        body=dict(serializers.EndpointOutput(endpoint).data),
        location=f"/v1/webhook-endpoints/{endpoint.pk}",
    )


def _build_rotated(rotated: RotatedSecret) -> StoredResponse:
    body = {
        "object": "webhook_secret",
        "endpoint_id": rotated.endpoint_id,
        "secret": None,
        "created_at": rotated.created_at,
        "previous_expires_at": rotated.previous_expires_at,
    }
    return StoredResponse(
        status_code=status.HTTP_200_OK, body=dict(serializers.RotatedOutput(body).data)
    )


def _build_pinged(delivery: WebhookDelivery) -> StoredResponse:
    body = {
        "delivery_id": delivery.pk,
        "message_id": message_id(delivery.event_id),
        "endpoint_id": delivery.endpoint_id,
    }
    return StoredResponse(
        status_code=status.HTTP_202_ACCEPTED,
        body=dict(serializers.PingOutput(body).data),
    )
