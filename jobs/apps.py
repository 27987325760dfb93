"""The app of what work there is and in what state."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Tenants, keys, regions, jobs, attempts, events."""

    name = "jobs"
