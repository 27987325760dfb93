"""Routes of the webhooks API."""

from django.urls import path

from workers.webhooks import views

_ENDPOINT = "webhook-endpoints/<uuid:endpoint_id>"

urlpatterns = [
    path("webhook-endpoints", views.EndpointList.as_view()),
    path(_ENDPOINT, views.EndpointDetail.as_view()),
    path(f"{_ENDPOINT}/rotate-secret", views.EndpointSecret.as_view()),
    path(f"{_ENDPOINT}/ping", views.EndpointPing.as_view()),
    path("webhook-secret", views.TenantSecret.as_view()),
    path("webhook-secret/rotate", views.TenantSecretRotation.as_view()),
]
