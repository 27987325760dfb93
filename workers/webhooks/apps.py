"""App configuration of webhooks."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """Webhook endpoints, deliveries and attempts."""

    name = "workers.webhooks"
    label = "webhooks"
