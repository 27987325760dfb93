"""`manage.py regions`: list the upstreams and steer them."""

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
    """Without an action, a table; with one, do it and show the region."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare action and name; `add` makes or changes a region."""
        actions = ["add", *regions.STEERS]
        parser.add_argument("action", nargs="?", choices=actions)
        parser.add_argument("name", nargs="?")
        parser.add_argument("--base-url")
        parser.add_argument("--key-setting")
        parser.add_argument("--max-concurrent", type=int)
        parser.add_argument("--max-per-minute", type=int)
        parser.add_argument("--max-streams", type=int)
        parser.add_argument("--weight", type=int)
        parser.add_argument(
            "--pool",
            action="append",
            metavar="NAME=LIMIT",
            help="a narrower limit: diarize=25; repeat for more",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it."""
        action, name = options["action"], options["name"]
        if action and not name:
            raise CommandError("Which region? manage.py regions ACTION NAME")
        if action == "add":
            self._add(name, options)
        elif action:
            try:
                regions.steer_region(
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
        plain = (
            "base_url",
            "key_setting",
            "max_concurrent",
            "max_per_minute",
            "max_streams",
            "weight",
        )
        given = {field: options[field] for field in plain if options[field] is not None}
        if options["pool"]:
            pairs = (pool.partition("=") for pool in options["pool"])
            given["pools"] = {pool: int(limit) for pool, _, limit in pairs}
        if not (given.get("base_url") or Region.objects.filter(pk=name).exists()):
            raise CommandError("A new region needs --base-url.")
        regions.set_region(
            name=name, changes=given, actor=audit.COMMAND, now=timezone.now()
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
            f"{region.name:<16} {state:<28} {calls}/{region.max_concurrent} at once,"
            f" {region.max_per_minute}/min, {streams}/{region.max_streams} live,"
            f" weight {region.weight}"
            f" {region.pools or ''} {region.base_url}"
        )
