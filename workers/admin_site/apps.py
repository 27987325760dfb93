"""App configurations: Django's admin with a custom site, and the dashboard's files."""

from django.apps import AppConfig, apps
from django.contrib.admin.apps import SimpleAdminConfig
from django.db.models.signals import post_migrate


class SiteConfig(SimpleAdminConfig):
    """Django's admin with ``OperatorsSite`` as ``admin.site``.

    No autodiscovery: the URLconf imports the pages, which cost a process 60 MiB and
    0.5 s of its start.
    """

    default_site = "workers.admin_site.site.OperatorsSite"


class OperatorsConfig(AppConfig):
    """The dashboard's templates, scripts and styles."""

    name = "workers.admin_site"
    label = "operators"

    def ready(self) -> None:
        """Create the roles after the last app has created its permissions."""
        from workers.admin_site.roles import after_migrate  # noqa: PLC0415  needs models

        last = apps.get_app_config("webhooks")
        post_migrate.connect(after_migrate, sender=last, dispatch_uid="roles")
