"""Create an API key and print it, once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from jobs.authentication import create_api_key
from jobs.models import Tenant


class Command(BaseCommand):
    """The key is printed to stdout and nothing else is, so that scripts can take it."""

    help = "Create an API key for a tenant and print it; it cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--tenant", required=True, help="the tenant's name")
        parser.add_argument(
            "--create-tenant", action="store_true", help="make the tenant if missing"
        )
        parser.add_argument("--name", default="", help="what the key is for")
        parser.add_argument(
            "--expires-days", type=int, help="days it is valid; for ever if not given"
        )

    @transaction.atomic
    def handle(self, *_args: Any, **options: Any) -> None:
        """Create the key; raise CommandError without such a tenant."""
        days = options["expires_days"]
        if days is not None and days < 1:
            raise CommandError("--expires-days is a number of days, 1 or more.")
        _, text = create_api_key(
            tenant=_find_tenant(options["tenant"], create=options["create_tenant"]),
            name=options["name"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
        self.stdout.write(text)


def _find_tenant(name: str, *, create: bool) -> Tenant:
    if create:
        return Tenant.objects.get_or_create(name=name)[0]
    tenant = Tenant.objects.filter(name=name).first()
    if tenant is None:
        message = f"There is no tenant {name!r}. Add --create-tenant to make it."
        raise CommandError(message)
    return tenant
