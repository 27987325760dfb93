"""The app that tells customers."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """Endpoints, deliveries and each attempt at one."""

    name = "workers.webhooks"
    label = "webhooks"
