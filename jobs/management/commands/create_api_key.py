"""Create an API key and print it, once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone
from rest_framework.serializers import ValidationError

from jobs.accounts import audit, keys, tenants
from jobs.accounts.authentication import ALL_SCOPES
from jobs.api.keys.serializers import AllowedIpsField
from jobs.errors import Conflict
from jobs.models import Tenant


class Command(BaseCommand):
    """Prints only the key to stdout, for use in scripts."""

    help = "Create an API key for a tenant and print it; it cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--tenant", required=True, help="the tenant's name")
        parser.add_argument(
            "--create-tenant", action="store_true", help="create a missing tenant"
        )
        parser.add_argument("--name", default="", help="a name for the key")
        parser.add_argument(
            "--scopes",
            nargs="+",
            default=ALL_SCOPES,
            choices=ALL_SCOPES,
            metavar="SCOPE",
            help=f"its scopes; default: all of {' '.join(ALL_SCOPES)}",
        )
        parser.add_argument(
            "--allowed-ip",
            action="append",
            default=[],
            metavar="ADDRESS",
            help="an IP address or CIDR block from which it is accepted; repeatable",
        )
        parser.add_argument(
            "--expires-days", type=int, help="days until it expires; default: never"
        )

    @transaction.atomic
    def handle(self, *_args: Any, **options: Any) -> None:
        """Create the key; raise CommandError for an unknown tenant."""
        now = timezone.now()
        days = options["expires_days"]
        if days is not None and days < 1:
            raise CommandError("--expires-days must be 1 or more.")
        draft = keys.KeyDraft(
            name=options["name"],
            scopes=tuple(scope for scope in ALL_SCOPES if scope in options["scopes"]),
            allowed_ips=_check_addresses(options["allowed_ip"]),
            expires_at=now + timedelta(days=days) if days else None,
        )
        tenant = _find_tenant(options["tenant"], create=options["create_tenant"])
        try:
            _, text = keys.issue_key(
                tenant=tenant, draft=draft, actor=audit.COMMAND, now=now
            )
        except Conflict as error:
            raise CommandError(error.message) from error
        self.stdout.write(text)


def _check_addresses(texts: list[str]) -> tuple[str, ...]:
    try:
        return tuple(AllowedIpsField().run_validation(texts))
    except ValidationError as error:
        message = f"Invalid --allowed-ip in: {', '.join(texts)}. Example: 192.0.2.0/24."
        raise CommandError(message) from error


def _find_tenant(name: str, *, create: bool) -> Tenant:
    if create:
        return tenants.get_or_create_tenant(
            name=name, actor=audit.COMMAND, now=timezone.now()
        )
    tenant = Tenant.objects.filter(name=name).first()
    if tenant is None:
        message = f"There is no tenant {name!r}. Add --create-tenant to create it."
        raise CommandError(message)
    return tenant
