"""`manage.py bootstrap`: a first tenant, region, API key and webhook secret."""

import json
import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied

from jobs.accounts import audit, authentication, keys, tenants
from jobs.models import Region, Tenant
from jobs.routing import regions
from workers.webhooks.messages import secrets


class Command(BaseCommand):
    """Create what a first run needs. Idempotent if BOOTSTRAP_API_KEY is set."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; the limits are those of the Deepgram project."""
        parser.add_argument("--tenant", default="default")
        parser.add_argument(
            "--region",
            action="append",
            metavar="NAME[=URL]",
            help="repeatable; default: local",
        )
        parser.add_argument("--max-concurrent", type=int, default=50)
        parser.add_argument(
            "--max-per-minute",
            type=regions.parse_rate,
            default=980,
            metavar="RATE",
            help="or none",
        )
        parser.add_argument("--migrate", action="store_true", help="migrate first")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Create them; print the key and the secret once."""
        if options["migrate"]:
            call_command("migrate", interactive=False, verbosity=0)
        now = timezone.now()
        tenant = tenants.get_or_create_tenant(
            name=options["tenant"], actor=audit.COMMAND, now=now
        )
        limits = {
            "max_concurrent": options["max_concurrent"],
            "max_per_minute": options["max_per_minute"],
        }
        pairs = [each.partition("=") for each in options["region"] or ["local"]]
        for name, _, url in pairs:
            is_new = not Region.objects.filter(pk=name).exists()
            regions.set_region(
                name=name,
                changes={
                    "base_url": url or settings.DEEPGRAM_BASE_URL,
                    **(limits if is_new else {}),
                },
                actor=audit.COMMAND,
                now=now,
            )
        made = {
            "tenant": str(tenant.pk),
            "region": pairs[0][0],
            "api_key": self._find_key(tenant),
            "webhook_secret": secrets.get_or_create_tenant_secret(tenant),
        }
        self._show(made, as_json=options["json"])

    @staticmethod
    def _find_key(tenant: Tenant) -> str:
        """Return BOOTSTRAP_API_KEY if it is still valid, otherwise a new key."""
        kept = os.environ.get("BOOTSTRAP_API_KEY", "")
        try:
            key = authentication.verify_key(kept, now=timezone.now(), address=None)
            if key.tenant == tenant:
                return kept
        except (AuthenticationFailed, PermissionDenied):
            pass
        return keys.issue_key(
            tenant=tenant,
            draft=keys.KeyDraft(name="bootstrap"),
            actor=audit.COMMAND,
            now=timezone.now(),
        )[1]

    def _show(self, made: dict[str, str], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(made))
            return
        for name, value in made.items():
            self.stdout.write(f"{name}: {value}")
