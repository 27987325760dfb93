"""Django app of tenants, jobs and batches."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Tenants, keys, regions, jobs, attempts, events."""

    name = "jobs"
