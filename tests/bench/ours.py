"""The platform as in production: one process of each kind, and the given number of workers."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from jobs.accounts import authentication
from jobs.models import Job, Region, Tenant
from tests.bench.stage import Process, Stage
from tests.bench.upstream import Emulator, free_port
from workers.embedded import probes

NO_RATE = 1_000_000
_TABLES = """
SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
WHERE schemaname = 'public'
AND (tablename LIKE 'jobs_%%' OR tablename LIKE 'transcripts_%%'
     OR tablename LIKE 'webhooks_%%')
"""
# A hundred thousand rows in a second: what `submit_job` writes, but for the events.
_MANY_JOBS = """
INSERT INTO jobs_job (
  id, tenant_id, mode, audio_url, upload, filename, content_type, sha256, options,
  metadata, callback_url, status, priority, lane, ready, worker, lease_token, attempt,
  max_attempts, crashes, error_code, error_detail, warnings, created_at)
SELECT gen_random_uuid(), %(tenant)s, 'async', %(audio_url)s, '', '', '', '',
  %(options)s::jsonb, '{}', '', 'queued', %(priority)s, %(lane)s, true, '', 0, 0,
  5, 0, '', '', '[]', now()
FROM generate_series(1, %(number)s)
"""


def migrate() -> None:
    """Bring the schema up."""
    call_command("migrate", verbosity=0)


def clear() -> None:
    """Forget every job and every permit."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        cursor.execute(f"TRUNCATE {cursor.fetchone()[0]} CASCADE")
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()


def make_tenant(name: str) -> Tenant:
    """Make a tenant that may use every priority."""
    return Tenant.objects.create(name=name)


def make_key(tenant: Tenant) -> str:
    """Make an API key and return its text."""
    return authentication.create_api_key(tenant=tenant)[1]


def make_region(name: str, emulator: Emulator, **limits: Any) -> Region:
    """Make a region that is the emulator."""
    limits.setdefault("max_per_minute", NO_RATE)
    return Region.objects.create(name=name, base_url=emulator.url, **limits)


def insert_jobs(
    tenant: Tenant, number: int, *, audio_url: str, lane: str = "*", priority: int = 6
) -> datetime:
    """Put many jobs into the backlog at once; return the database's time of it."""
    with connection.cursor() as cursor:
        cursor.execute(
            _MANY_JOBS,
            {
                "tenant": tenant.pk,
                "audio_url": audio_url,
                "options": '{"model": "nova-3", "smart_format": true}',
                "priority": priority,
                "lane": lane,
                "number": number,
            },
        )
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def analyze() -> None:
    """Let PostgreSQL know what was inserted, as autovacuum would a minute later."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")


def count_jobs(**filters: Any) -> int:
    """Count jobs by their fields."""
    return Job.objects.filter(**filters).count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Our processes, by name."""

    url: str
    processes: Mapping[str, Process]


@contextmanager
def platform(
    stage: Stage,
    *,
    workers: Mapping[str, Sequence[int]],
    webhook_threads: int = 20,
    has_web: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Platform]:
    """Run dispatcher, workers (threads of each, by region), webhook worker and web."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        running: dict[str, Process] = {}

        def run(name: str, *words: str, ready: Any) -> None:
            running[name] = stack.enter_context(
                stage.running(name, *words, ready=ready, environment=environment)
            )

        run(
            "dispatcher",
            *("manage.py", "run_dispatcher"),
            ready=lambda _process: probes.has_connected(
                stage.database_url, "dispatcher"
            ),
        )
        for region, pools in workers.items():
            for number, threads in enumerate(pools, start=1):
                name = f"worker {region} {number}"
                run(name, *_worker(name, f"transcribe.{region}", threads), ready=_beats)
        if webhook_threads:
            run(
                "webhooks", *_worker("hooks", "webhooks", webhook_threads), ready=_beats
            )
        if has_web:
            run(
                "web",
                *granian("transcribe_platform.wsgi:application", port),
                ready=lambda _process: probes.http_answers(f"{url}/health/live"),
            )
        yield Platform(url=url, processes=running)


@contextmanager
def worker(
    stage: Stage,
    *,
    region: str,
    threads: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Run one more worker."""
    with stage.running(
        "worker more",
        *_worker("more", f"transcribe.{region}", threads),
        ready=_beats,
        environment=environment,
    ) as process:
        yield process


def granian(application: str, port: int) -> tuple[str, ...]:
    """Return the web server's command, the same for both peers."""
    return (
        *("-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
        *("--port", str(port), "--blocking-threads", "160", "--log-level", "warning"),
        application,
    )


def _worker(name: str, queue: str, threads: int) -> tuple[str, ...]:
    return (
        *("-m", "celery", "-A", "transcribe_platform.celery", "worker"),
        *("-P", "threads", "-c", str(threads + 1), "-Q", queue, "--loglevel=INFO"),
        *("-n", f"{name.replace(' ', '-')}@%h", "--without-gossip"),
        "--without-mingle",
    )


def _beats(process: Process) -> bool:
    return probes.has_heartbeat(os.environ["DATABASE_URL"], process.popen.pid)
