"""The app of ``/console/``: template and static files."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """The console. It has no models and uses the public API only."""

    name = "workers.console"
    label = "console"
