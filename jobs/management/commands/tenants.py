"""List tenants with their load; pause, resume or change one."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Q
from django.utils import timezone

from jobs import services
from jobs.accounts import audit
from jobs.accounts.tenants import change_tenant
from jobs.errors import InvalidRequest
from jobs.models import Content, Tenant
from jobs.options import UnknownOptions
from jobs.quotas import counters as quota_counters
from jobs.retention.retention import MAX_DAYS
from jobs.state import JobStatus

NO_LIMIT = "none"


def parse_limit(text: str) -> int | str:
    """Parse a quota: a whole number below 2^31, or ``none``."""
    if text == NO_LIMIT:
        return text
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**31:
        raise ArgumentTypeError(f"{text!r} is not a whole number or 'none'.")
    return int(text)


def parse_days(text: str) -> int | str:
    """Parse a number of days, or ``none``."""
    days = parse_limit(text)
    if isinstance(days, int) and days > MAX_DAYS:
        raise ArgumentTypeError(f"{days} is more than {MAX_DAYS} days.")
    return days


class Command(BaseCommand):
    """Without an action, list the tenants; with one, apply it and print the tenant."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments and the fields of ``set``."""
        actions = ["pause", "resume", "set"]
        parser.add_argument("action", nargs="?", choices=actions)
        parser.add_argument("name", nargs="?")
        parser.add_argument("--weight", type=int)
        parser.add_argument("--max-in-flight", type=int)
        parser.add_argument("--requests-per-minute", type=int, help="0: no limit")
        parser.add_argument("--highest-priority", type=int, choices=[0, 3, 6, 9])
        parser.add_argument("--allowed-region", action="append", metavar="NAME")
        parser.add_argument("--retention-days", type=int, help="0: forever")
        policies = ["", *UnknownOptions]
        help_ = "what is done with unknown options; '': the platform's policy"
        parser.add_argument("--unknown-options", choices=policies, help=help_)
        for content in Content:
            option = f"--{content.setting.replace('_', '-')}"
            message = "days after the job's end; none: like the job"
            parser.add_argument(option, type=parse_days, help=message)
        for name in quota_counters.LIMITS:
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, type=parse_limit, help="a number, or none")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Apply the action and print tenants."""
        tenants = Tenant.objects.order_by("name")
        if options["action"]:
            tenants = tenants.filter(name=options["name"])
            tenant = tenants.first()
            if tenant is None:
                raise CommandError(f"There is no tenant {options['name']!r}.")
            self._apply(tenant, options)
        self._print(tenants)

    @staticmethod
    def _apply(tenant: Tenant, options: dict[str, Any]) -> None:
        now = timezone.now()
        if options["action"] == "pause":
            services.pause_tenant(tenant=tenant, now=now, actor=audit.COMMAND)
        elif options["action"] == "resume":
            services.resume_tenant(tenant=tenant, now=now, actor=audit.COMMAND)
        else:
            fields = {
                "weight": options["weight"],
                "max_in_flight": options["max_in_flight"],
                "requests_per_minute": options["requests_per_minute"],
                "highest_priority": options["highest_priority"],
                "allowed_regions": options["allowed_region"],
                "retention_days": options["retention_days"],
                "unknown_options": options["unknown_options"],
            }
            changes = {
                name: value for name, value in fields.items() if value is not None
            }
            for name in (*quota_counters.LIMITS, *(c.setting for c in Content)):
                if options[name] is not None:
                    value = options[name]
                    changes[name] = None if value == NO_LIMIT else value
            try:
                change_tenant(
                    tenant=tenant, changes=changes, actor=audit.COMMAND, now=now
                )
            except InvalidRequest as error:
                raise CommandError(error.message) from error

    def _print(self, tenants: Any) -> None:
        queued = Count("jobs", filter=Q(jobs__status=JobStatus.QUEUED))
        running = Count("jobs", filter=Q(jobs__status=JobStatus.PROCESSING))
        for tenant in tenants.annotate(queued=queued, running=running):
            limit = tenant.max_in_flight or "no limit"
            state = "paused" if tenant.is_paused else "open"
            self.stdout.write(
                f"{tenant.name:<24} {state:<8} {tenant.queued} queued,"
                f" {tenant.running} in flight ({limit}), weight {tenant.weight}"
            )
