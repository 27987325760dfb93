"""The app whose template and files make up ``/console/``."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """A page for people; it has no tables, and all it does goes through the API."""

    name = "workers.console"
    label = "console"
