"""The endpoints API: create, list, update, delete, ping, and rotate secrets."""

from dataclasses import asdict
from uuid import UUID

from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.rest.openapi import (
    IDEMPOTENCY_PARAMETER,
    PAGE_PARAMETERS,
    document,
    header,
    page,
)
from jobs.rest.pagination import respond_list
from jobs.rest.views import ApiView, check_no_body, get_caller, get_tenant, validate
from workers.webhooks import endpoints
from workers.webhooks.api import serializers
from workers.webhooks.api.secret_request import SecretRequest
from workers.webhooks.messages import secrets
from workers.webhooks.messages.payloads import message_id
from workers.webhooks.messages.secrets import RotatedSecret

_ONCE = [
    IDEMPOTENCY_PARAMETER,
    header(
        "Idempotency-Replayed",
        "`true` if this response is replayed. It contains no secret then.",
        *(200, 201, 202),
    ),
]


class WebhookView(ApiView):
    """Base of the views of webhooks."""

    required_scopes = {
        "GET": "webhooks:read",
        "POST": "webhooks:write",
        "PATCH": "webhooks:write",
        "DELETE": "webhooks:write",
    }


class EndpointList(WebhookView):
    """`/v1/webhook-endpoints`."""

    @document(
        "create_webhook_endpoint",
        {201: serializers.EndpointCreatedOutput},
        request=serializers.EndpointInput,
        parameters=[*_ONCE, header("Location", "The URL of the new endpoint.", 201)],
    )
    def post(self, request: Request) -> Response:
        """Create a webhook endpoint.

        The response contains the signing secret, which is not shown again.
        """
        body = validate(request, serializers.EndpointInput)
        fields = dict(body.validated_data)
        once = SecretRequest(request, route="create webhook endpoint")
        secret = None
        with once.lock() as is_first:
            if is_first:
                endpoint, secret = endpoints.create_endpoint(
                    caller=once.caller,
                    secret=fields.pop("secret", ""),
                    fields=fields,
                    now=once.now,
                )
                once.store(
                    status.HTTP_201_CREATED,
                    dict(serializers.EndpointOutput(endpoint).data),
                    location=f"/v1/webhook-endpoints/{endpoint.pk}",
                )
        return once.respond(secret=secret)

    @document(
        "list_webhook_endpoints",
        page(
            serializers.EndpointOutput,
            "One page of a tenant's endpoints, newest first.",
        ),
        parameters=PAGE_PARAMETERS,
    )
    def get(self, request: Request) -> Response:
        """List webhook endpoints. Newest first."""
        rows = endpoints.find_endpoints(get_tenant(request))
        return respond_list(
            request, rows, serializers.EndpointOutput, list_name="webhook-endpoints"
        )


class EndpointDetail(WebhookView):
    """`/v1/webhook-endpoints/{id}`."""

    @document(
        "get_webhook_endpoint",
        serializers.EndpointOutput,
    )
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """Get a webhook endpoint."""
        endpoint = endpoints.get_endpoint(
            tenant=get_tenant(request), endpoint_id=endpoint_id
        )
        return Response(serializers.EndpointOutput(endpoint).data)

    @document(
        "update_webhook_endpoint",
        serializers.EndpointOutput,
        request=serializers.EndpointChanges,
    )
    def patch(self, request: Request, endpoint_id: UUID) -> Response:
        """Update a webhook endpoint. Pending messages are sent to the new URL."""
        body = validate(request, serializers.EndpointChanges)
        endpoint = endpoints.update_endpoint(
            caller=get_caller(request),
            endpoint_id=endpoint_id,
            fields=body.validated_data,
            now=timezone.now(),
        )
        return Response(serializers.EndpointOutput(endpoint).data)

    @document("delete_webhook_endpoint", {204: None})
    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        """Delete a webhook endpoint. Pending messages are discarded."""
        check_no_body(request)
        endpoints.delete_endpoint(
            caller=get_caller(request), endpoint_id=endpoint_id, now=timezone.now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class EndpointSecret(WebhookView):
    """`/v1/webhook-endpoints/{id}/rotate-secret`."""

    @document(
        "rotate_webhook_endpoint_secret",
        serializers.RotatedOutput,
        request=serializers.SecretRotationInput,
        parameters=_ONCE,
    )
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Rotate the signing secret of a webhook endpoint.

        The previous secret also signs until its grace period ends.
        """
        body = validate(request, serializers.SecretRotationInput)
        once = SecretRequest(request, route=f"rotate {endpoint_id}")
        secret = None
        with once.lock() as is_first:
            if is_first:
                rotated = endpoints.rotate_endpoint_secret(
                    caller=once.caller,
                    endpoint_id=endpoint_id,
                    rotation=body.rotation(),
                    now=once.now,
                )
                secret = _store_rotated(once, rotated)
        return once.respond(secret=secret)


class EndpointPing(WebhookView):
    """`/v1/webhook-endpoints/{id}/ping`."""

    @document(
        "ping_webhook_endpoint",
        {202: serializers.PingOutput},
        parameters=_ONCE,
    )
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Send a test message to a webhook endpoint.

        Sends `webhook.ping`, whatever event types the endpoint has.
        """
        check_no_body(request)
        once = SecretRequest(request, route=f"ping {endpoint_id}")
        with once.lock() as is_first:
            if is_first:
                delivery = endpoints.ping_endpoint(
                    caller=once.caller, endpoint_id=endpoint_id, now=once.now
                )
                body = {
                    "delivery_id": delivery.pk,
                    "message_id": message_id(delivery.event_id),
                    "endpoint_id": delivery.endpoint_id,
                }
                once.store(
                    status.HTTP_202_ACCEPTED, dict(serializers.PingOutput(body).data)
                )
        return once.respond()


class TenantSecret(WebhookView):
    """`/v1/webhook-secret`, which signs messages to jobs' callback URLs."""

    @document("get_webhook_secret", serializers.TenantSecretOutput)
    def get(self, request: Request) -> Response:
        """Get the validity of the callback signing secrets.

        Shows from when and until when each secret signs, not the secrets.
        """
        live = secrets.find_live_secrets(get_tenant(request), now=timezone.now())
        body = {"object": "webhook_secret", "live": live}
        return Response(serializers.TenantSecretOutput(body).data)


class TenantSecretRotation(WebhookView):
    """`/v1/webhook-secret/rotate`."""

    @document(
        "rotate_webhook_secret",
        serializers.RotatedOutput,
        request=serializers.SecretRotationInput,
        parameters=_ONCE,
    )
    def post(self, request: Request) -> Response:
        """Rotate the callback signing secret.

        The previous secret also signs until its grace period ends.
        """
        body = validate(request, serializers.SecretRotationInput)
        once = SecretRequest(request, route="rotate webhook secret")
        secret = None
        with once.lock() as is_first:
            if is_first:
                rotated = endpoints.rotate_tenant_secret(
                    caller=once.caller, rotation=body.rotation(), now=once.now
                )
                secret = _store_rotated(once, rotated)
        return once.respond(secret=secret)


def _store_rotated(once: SecretRequest, rotated: RotatedSecret) -> str:
    """Store the response without the new secret; return the secret."""
    body = {**asdict(rotated), "object": "webhook_secret", "secret": None}
    once.store(status.HTTP_200_OK, dict(serializers.RotatedOutput(body).data))
    return rotated.secret
