"""The app of everything that touches the outside."""

from django.apps import AppConfig


class WorkersConfig(AppConfig):
    """Home of commands and tasks; its tables live in ``workers.webhooks``."""

    name = "workers"
