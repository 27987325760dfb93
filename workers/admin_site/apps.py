"""The apps of the operators' pages: Django's admin with our site, and our own files."""

from django.apps import AppConfig, apps
from django.contrib.admin.apps import SimpleAdminConfig
from django.db.models.signals import post_migrate


class SiteConfig(SimpleAdminConfig):
    """Django's admin; ``admin.site`` is ours everywhere.

    Its pages are found where the routes are: a process without any pays 60 MiB and half
    a second of its start for them.
    """

    default_site = "workers.admin_site.site.OperatorsSite"


class OperatorsConfig(AppConfig):
    """The dashboard's templates, scripts and styles."""

    name = "workers.admin_site"
    label = "operators"

    def ready(self) -> None:
        """Have the roles made once the last of our apps has its permissions."""
        from workers.admin_site.roles import after_migrate  # noqa: PLC0415  needs models

        last = apps.get_app_config("webhooks")
        post_migrate.connect(after_migrate, sender=last, dispatch_uid="roles")
