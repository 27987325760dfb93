"""The claim with a million rows compared with the same claim with ten thousand.

Both tables are in one database, each in its own schema, with the same mix: 30 % back
off, 30 % belong to a drained region, 10 % to one paused tenant (which stands for a
paused batch), 10 % have ended, the rest can run; 1,000 tenants. A round claims 20 jobs
and is rolled back; rounds alternate between the tables. Permits are stubbed in the claim
alone, and real in the whole tick, which also sends to the broker.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from jobs.models import Job, Region, Tenant, Worker
from jobs.scheduling import claims, dispatch
from jobs.scheduling.claims import Permit
from tests.bench.rows import Row, at_most, median
from tests.support import ROOT
from workers.ratelimit.permits import get_permits

FEW, MANY = 10_000, 1_000_000
TENANTS = 1_000
CLAIMED = 20
ROUNDS = 15
LIMIT = 1.5
EXPLAINED = ROOT / "docs" / "bench" / "claim_explain.txt"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# UUIDs in the order of their making, as UUIDv7 are: pages fill as in production.
_FILL = """
INSERT INTO jobs_job (
  id, tenant_id, mode, audio_url, upload, filename, content_type, sha256, options,
  metadata, callback_url, status, region_id, finished_at, priority, lane, ready, run_at,
  worker, lease_token, attempt, max_attempts, crashes, error_code, error_detail,
  warnings, created_at)
SELECT
  (lpad(to_hex(1700000000000 + n), 12, '0') || '7000a' || substr(md5(n::text), 1, 15))::uuid,
  CASE WHEN n %% 10 = 6 THEN %(paused)s::uuid
       ELSE (%(tenants)s::uuid[])[1 + n / 10 %% array_length(%(tenants)s::uuid[], 1)]
  END,
  'async', 'https://audio.example.com/' || n || '.wav', '', '', '', '',
  '{"model": "nova-3", "smart_format": true}', '{}', '',
  CASE WHEN n %% 10 = 7 THEN 'completed' ELSE 'queued' END,
  CASE WHEN n %% 10 = 7 THEN 'open' END,
  CASE WHEN n %% 10 = 7 THEN now() END,
  (ARRAY[0, 3, 6, 6, 6, 9])[1 + n / 1000 %% 6],
  CASE WHEN n %% 10 BETWEEN 3 AND 5 THEN 'drained' ELSE '*' END,
  n %% 10 >= 3,
  CASE WHEN n %% 10 < 3 THEN now() + interval '1 hour' + n * interval '1 ms' END,
  '', 0, 0, 5, 0, '', '', '[]', now()
FROM generate_series(1, %(rows)s) AS n
"""


class OpenPermits:
    """A ledger with room for one round, for the claim alone."""

    def find_room(self, region: Region) -> dict[str, int]:
        return {"": CLAIMED}

    def acquire(self, region: Region, permits: Sequence[Permit]) -> list[bool]:
        return [True] * len(permits)

    def release(self, region: str, permits: Any) -> None:
        return None


def run() -> list[Row]:
    """Measure both and write the plans down."""
    for schema, rows in (("few", FEW), ("many", MANY)):
        with using(schema):
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE SCHEMA {schema}")
            call_command("migrate", verbosity=0)
            fill(rows)
    try:
        figures = [
            compare("claim_all", claim_round),
            compare("the whole tick", tick_round),
        ]
        explain("many", EXPLAINED)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA IF EXISTS few, many CASCADE")
    return figures


def compare(name: str, one_round: Callable[[], float]) -> Row:
    """Take rounds on both tables in turns and compare their medians."""
    times: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(ROUNDS):
        for schema in ("few", "many") if number % 2 else ("many", "few"):
            with using(schema):
                one_round()  # the other table had the cache
                times[schema].append(one_round())
    few, many = median(times["few"]), median(times["many"])
    return Row(
        bench="claim",
        figure=f"{name}: 20 of {MANY:,} rows, of {FEW:,}",
        ours=f"{many * 1000:.1f} ms, {few * 1000:.1f} ms",
        **at_most(many / few, LIMIT),
    )


@contextmanager
def using(schema: str) -> Iterator[None]:
    """Work in one of the tables."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path TO {schema}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET search_path TO public")


def fill(rows: int) -> None:
    """Make tenants, regions, a worker and the jobs."""
    tenants = Tenant.objects.bulk_create(
        Tenant(name=f"tenant-{number}") for number in range(min(TENANTS - 1, rows))
    )
    paused = Tenant.objects.create(name="paused", is_paused=True)
    url = "http://127.0.0.1:1"
    Region.objects.create(
        name="open", base_url=url, max_concurrent=CLAIMED, max_per_minute=10**6
    )
    Region.objects.create(name="drained", base_url=url, is_drained=True)
    Worker.objects.create(
        name="bench", queues=["transcribe.open"], slots=10**6, seen_at=timezone.now()
    )
    given = {"paused": paused.pk, "tenants": [t.pk for t in tenants], "rows": rows}
    with connection.cursor() as cursor:
        # A million look-ups of foreign keys that are known to hold would take a minute.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(_FILL, given)
        cursor.execute("SET session_replication_role = origin")
        for table in ("jobs_job", "jobs_tenant", "jobs_worker", "jobs_region"):
            cursor.execute(f"ANALYZE {table}")


def claim_round() -> float:
    """Claim once and undo it; return the seconds of the claim."""
    with undone():
        began = time.perf_counter()
        claimed = list(claims.claim_all(permits=OpenPermits(), now=timezone.now()))
        took = time.perf_counter() - began
        check([job for jobs in claimed for job in jobs])
    return took


def tick_round() -> float:
    """Run a whole tick and undo it; return its seconds."""
    permits = get_permits()
    with undone():
        began = time.perf_counter()
        ticked = dispatch.tick(permits=permits, up_since=LONG_AGO)
        took = time.perf_counter() - began
        check(ticked.claimed)
        permits.release("open", [claims.permit_of(job) for job in ticked.claimed])
    return took


@contextmanager
def undone() -> Iterator[None]:
    """Take everything back that the block writes."""
    with transaction.atomic():
        now = timezone.now()
        Worker.objects.update(seen_at=now)
        yield
        transaction.set_rollback(True)


def check(claimed: list[Job]) -> None:
    """Raise RuntimeError unless the round did what is measured."""
    if len(claimed) != CLAIMED or any(job.lane != "*" for job in claimed):
        raise RuntimeError(f"claimed {len(claimed)} jobs, not {CLAIMED}")


def explain(schema: str, path: Path) -> None:
    """Write the plan of every statement of a tick, as it ran."""
    plans: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
            point = transaction.savepoint()
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", params)
                plan = "\n".join(line for (line,) in cursor.fetchall())
            transaction.savepoint_rollback(point)
            plans.append(f"{shorten(sql)}\n\n{plan}")
        return execute(sql, params, many, context)

    with using(schema), undone(), connection.execute_wrapper(note):
        ticked = dispatch.tick(permits=get_permits(), up_since=LONG_AGO)
    get_permits().release("open", [claims.permit_of(job) for job in ticked.claimed])
    head = f"Every statement of one tick that claims {CLAIMED} of {MANY:,} rows.\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(f"\n{'=' * 78}\n{plan}\n" for plan in plans))


def shorten(sql: str, most: int = 600) -> str:
    """Return the statement without its long lists of columns."""
    text = " ".join(sql.split())
    return text if len(text) <= most else f"{text[:most]} …"
