"""App configuration of the workers package."""

from django.apps import AppConfig


class WorkersConfig(AppConfig):
    """Commands and tasks; the tables are in ``workers.webhooks``."""

    name = "workers"
