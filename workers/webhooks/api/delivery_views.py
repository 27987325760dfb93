"""The deliveries API: list, inspect, redeliver and recover."""

from uuid import UUID

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.rest.openapi import (
    PAGE_PARAMETERS,
    document,
    header,
    page,
    query_parameter,
)
from jobs.rest.pagination import respond_page
from jobs.rest.views import (
    check_no_body,
    get_actor,
    get_tenant,
    validate,
)
from workers.webhooks.api.delivery_serializers import (
    DeliveryAttemptPage,
    DeliveryOutput,
    RecoverInput,
    RecoveryOutput,
)
from workers.webhooks.api.views import WebhookView
from workers.webhooks.delivery import queries as delivery_queries
from workers.webhooks.delivery import replay
from workers.webhooks.delivery.queries import DeliveryQuery
from workers.webhooks.models import WebhookDelivery

_LOCATION = header("Location", "The URL to poll for progress.", 202)


class DeliveryList(WebhookView):
    """`/v1/webhook-deliveries`."""

    @document(
        "list_webhook_deliveries",
        page(DeliveryOutput, "One page of a tenant's deliveries, newest first."),
        parameters=[
            *PAGE_PARAMETERS,
            query_parameter("status", enum=WebhookDelivery.Status.values),
            query_parameter(
                "type", description="Event type, for example `job.completed`."
            ),
            query_parameter("endpoint_id", OpenApiTypes.UUID),
            query_parameter("job_id", OpenApiTypes.UUID),
            query_parameter("created_after", OpenApiTypes.DATETIME),
            query_parameter("created_before", OpenApiTypes.DATETIME),
        ],
    )
    def get(self, request: Request) -> Response:
        """List webhook deliveries. Newest first. Deliveries are stored for 30 days."""
        tenant = get_tenant(request)
        query = DeliveryQuery.parse(request.query_params, owner=tenant.pk)
        rows = delivery_queries.find_deliveries(
            tenant=tenant, conditions=query.conditions
        )
        return respond_page(request, rows, query.page, DeliveryOutput)


class DeliveryDetail(WebhookView):
    """`/v1/webhook-deliveries/{id}`."""

    @document("get_webhook_delivery", DeliveryOutput)
    def get(self, request: Request, delivery_id: UUID) -> Response:
        """Get a webhook delivery."""
        delivery = delivery_queries.get_delivery(
            tenant=get_tenant(request), delivery_id=delivery_id
        )
        return Response(DeliveryOutput(delivery).data)


class DeliveryAttempts(WebhookView):
    """`/v1/webhook-deliveries/{id}/attempts`."""

    @document("list_webhook_attempts", DeliveryAttemptPage)
    def get(self, request: Request, delivery_id: UUID) -> Response:
        """List the attempts of a webhook delivery.

        Oldest first, with the responses of the receiver.
        """
        delivery = delivery_queries.get_delivery(
            tenant=get_tenant(request), delivery_id=delivery_id
        )
        attempts = delivery_queries.list_attempts(delivery)
        return Response(DeliveryAttemptPage({"data": attempts}).data)


class DeliveryRedeliver(WebhookView):
    """`/v1/webhook-deliveries/{id}/redeliver`."""

    @document(
        "redeliver_webhook",
        {202: DeliveryOutput},
        problems=(409, 410),
        parameters=[_LOCATION],
    )
    def post(self, request: Request, delivery_id: UUID) -> Response:
        """Redeliver a webhook message.

        Sends the same id and bytes with a new signature, even if already delivered.

        Makes one attempt soon. If it fails, the retry schedule does not change.
        """
        check_no_body(request)
        delivery = replay.redeliver(
            tenant=get_tenant(request),
            actor=get_actor(request),
            delivery_id=delivery_id,
            now=timezone.now(),
        )
        return Response(
            DeliveryOutput(delivery).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/v1/webhook-deliveries/{delivery.pk}"},
        )


class AttemptResponseBody(WebhookView):
    """`/v1/webhook-deliveries/{id}/attempts/{n}/response-body`."""

    @document("expunge_webhook_response", {204: None})
    def delete(self, request: Request, delivery_id: UUID, number: int) -> Response:
        """Erase the stored response of a delivery attempt.

        The attempt itself remains in the log.
        """
        check_no_body(request)
        replay.erase_response(
            tenant=get_tenant(request),
            actor=get_actor(request),
            delivery_id=delivery_id,
            number=number,
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class EndpointRecover(WebhookView):
    """`/v1/webhook-endpoints/{id}/recover`."""

    @document(
        "recover_webhook_endpoint",
        {202: RecoveryOutput},
        request=RecoverInput,
        problems=(409,),
        parameters=[_LOCATION],
    )
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Resend failed messages to a webhook endpoint.

        Each delivery without a success starts a retry schedule of its own.

        Reaches back up to 14 days, for at most 10,000 deliveries.
        """
        now = timezone.now()
        body = validate(request, RecoverInput)
        recovery = replay.recover(
            tenant=get_tenant(request),
            actor=get_actor(request),
            endpoint_id=endpoint_id,
            span=body.span(now=now),
            now=now,
        )
        location = f"/v1/webhook-endpoints/{endpoint_id}/recoveries/{recovery.pk}"
        return Response(
            RecoveryOutput(recovery).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": location},
        )


class EndpointRecovery(WebhookView):
    """`/v1/webhook-endpoints/{id}/recoveries/{id}`."""

    @document("get_webhook_recovery", RecoveryOutput)
    def get(self, request: Request, endpoint_id: UUID, recovery_id: UUID) -> Response:
        """Get a webhook recovery. Counts its deliveries by status."""
        recovery = replay.get_recovery(
            tenant=get_tenant(request), endpoint_id=endpoint_id, recovery_id=recovery_id
        )
        return Response(RecoveryOutput(recovery).data)
