"""`manage.py bootstrap`: a first tenant, region, API key and webhook secret."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from jobs import authentication
from jobs.models import Region, Tenant
from workers.webhooks import secrets


class Command(BaseCommand):
    """Make what a first run needs; running it again only adds a key."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; the limits are of the Deepgram project."""
        parser.add_argument("--tenant", default="default")
        parser.add_argument("--region", default="local")
        parser.add_argument("--max-concurrent", type=int, default=50)
        parser.add_argument("--max-per-minute", type=int, default=980)
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Make them and print the key and the secret, once."""
        tenant, _ = Tenant.objects.get_or_create(name=options["tenant"])
        Region.objects.update_or_create(
            name=options["region"],
            defaults={"base_url": settings.DEEPGRAM_BASE_URL},
            create_defaults={
                "base_url": settings.DEEPGRAM_BASE_URL,
                "max_concurrent": options["max_concurrent"],
                "max_per_minute": options["max_per_minute"],
            },
        )
        _, api_key = authentication.create_api_key(tenant=tenant, name="bootstrap")
        made = {
            "tenant": str(tenant.pk),
            "region": options["region"],
            "api_key": api_key,
            "webhook_secret": secrets.get_or_create_tenant_secret(tenant),
        }
        if options["json"]:
            self.stdout.write(json.dumps(made))
            return
        for name, value in made.items():
            self.stdout.write(f"{name}: {value}")
