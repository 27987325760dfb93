"""Routes of the webhooks API."""

from django.urls import path

from workers.webhooks.api import delivery_views, views

_DELIVERY = "webhook-deliveries/<uuid:delivery_id>"
_ENDPOINT = "webhook-endpoints/<uuid:endpoint_id>"

urlpatterns = [
    path("webhook-endpoints", views.EndpointList.as_view()),
    path(_ENDPOINT, views.EndpointDetail.as_view()),
    path(f"{_ENDPOINT}/rotate-secret", views.EndpointSecret.as_view()),
    path(f"{_ENDPOINT}/ping", views.EndpointPing.as_view()),
    path("webhook-secret", views.TenantSecret.as_view()),
    path("webhook-secret/rotate", views.TenantSecretRotation.as_view()),
    path("webhook-deliveries", delivery_views.DeliveryList.as_view()),
    path(_DELIVERY, delivery_views.DeliveryDetail.as_view()),
    path(f"{_DELIVERY}/attempts", delivery_views.DeliveryAttempts.as_view()),
    path(f"{_DELIVERY}/redeliver", delivery_views.DeliveryRedeliver.as_view()),
    path(
        f"{_DELIVERY}/attempts/<int:number>/response-body",
        delivery_views.AttemptResponseBody.as_view(),
    ),
    path(f"{_ENDPOINT}/recover", delivery_views.EndpointRecover.as_view()),
    path(
        f"{_ENDPOINT}/recoveries/<uuid:recovery_id>",
        delivery_views.EndpointRecovery.as_view(),
    ),
]
