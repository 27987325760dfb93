"""List, create and control regions."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jobs.accounts import audit
from jobs.errors import NotFound
from jobs.models import Job, Mode, Region
from jobs.routing import regions
from jobs.state import JobStatus


class Command(BaseCommand):
    """Without an action, list the regions; with one, apply it and print the region."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments; ``add`` creates or changes a region."""
        actions = ["add", *regions.ACTIONS]
        parser.add_argument("action", nargs="?", choices=actions)
        parser.add_argument("name", nargs="?")
        parser.add_argument("--base-url")
        parser.add_argument("--key-setting")
        parser.add_argument("--max-concurrent", type=int)
        parser.add_argument(
            "--max-per-minute",
            type=regions.parse_rate,
            metavar="RATE",
            help="calls per minute, or none",
        )
        parser.add_argument("--max-streams", type=int)
        parser.add_argument("--weight", type=int)
        parser.add_argument(
            "--pool",
            action="append",
            metavar="NAME=LIMIT",
            help="concurrency limit of a feature, such as diarize=25; repeatable",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Apply the action and print regions."""
        action, name = options["action"], options["name"]
        if action and not name:
            raise CommandError("Name a region: manage.py regions ACTION NAME")
        if action == "add":
            self._add(name, options)
        elif action:
            try:
                regions.apply_action(
                    name=name,
                    action=action,
                    actor=audit.COMMAND,
                    now=timezone.now(),
                )
            except NotFound as error:
                raise CommandError(error.message) from error
        rows = Region.objects.order_by("name")
        for region in rows.filter(pk=name) if name else rows:
            self.stdout.write(self._line(region))

    @staticmethod
    def _add(name: str, options: dict[str, Any]) -> None:
        names = (
            "base_url",
            "key_setting",
            "max_concurrent",
            "max_per_minute",
            "max_streams",
            "weight",
        )
        changes = {each: options[each] for each in names if options[each] is not None}
        if options["pool"]:
            pairs = (pool.partition("=") for pool in options["pool"])
            changes["pools"] = {pool: int(limit) for pool, _, limit in pairs}
        if not (changes.get("base_url") or Region.objects.filter(pk=name).exists()):
            raise CommandError("A new region needs --base-url.")
        regions.set_region(
            name=name, changes=changes, actor=audit.COMMAND, now=timezone.now()
        )

    @staticmethod
    def _line(region: Region) -> str:
        marks = {
            "disabled": not region.is_enabled,
            "drained": region.is_drained,
            "pinned": region.is_pinned,
            f"paused ({region.paused_reason})": bool(
                region.paused_until and region.paused_until > timezone.now()
            ),
        }
        state = ", ".join(mark for mark, is_set in marks.items() if is_set) or "open"
        running = Job.objects.filter(status=JobStatus.PROCESSING, region=region)
        streams = running.filter(mode=Mode.LIVE).count()
        calls = running.count() - streams
        return (
            f"{region.name:<16} {state:<28} {calls}/{region.max_concurrent} calls,"
            f" {region.max_per_minute if region.has_rate_limit else 'no limit'}/min,"
            f" {streams}/{region.max_streams} live,"
            f" weight {region.weight}"
            f" {region.pools or ''} {region.base_url}"
        )
