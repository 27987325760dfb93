"""The dashboard and the lists of the admin pages over a million jobs since midnight.

One call and two events per job, 200,000 webhook attempts in the last hours, fifty
thousand waiting jobs, a thousand tenants of very different sizes. Measured: the whole
response of the view with its session, without a server. Cold: in a new process, which
aggregates the day once.
"""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from jobs.models import Job, Region, Tenant, Worker
from tests.bench import yardstick
from tests.bench.claim import shorten
from tests.bench.rows import Row, at_most, median
from tests.support import ROOT
from workers.admin_site import statistics as admin_site_statistics
from workers.monitoring import activity
from workers.webhooks.models import WebhookEndpoint

JOBS, TENANTS, DELIVERIES, EVENTS = 1_000_000, 1_000, 200_000, 2_000_000
ROUNDS = 7
LIMIT_MS = 300.0
# Once in the life of a process, and fetched apart from the rest.
ONCE = {"figures of today, cold"}
EXPLAINED = ROOT / "docs" / "bench" / "operators_explain.txt"
LIST = "/admin/jobs/job/"

_ID = """(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000a'
  || substr(md5(n::text), 1, 15))::uuid"""
_JOBS = f"""
INSERT INTO jobs_job (
  id, tenant_id, mode, audio_url, upload, filename, content_type, sha256, options,
  metadata, callback_url, status, region_id, finished_at, started_at, priority, lane,
  ready, worker, lease_token, lease_until, attempt, max_attempts, crashes, error_code,
  error_detail, warnings, created_at, duration_seconds, custom_id)
SELECT {_ID}, (%(tenants)s::uuid[])[1 + floor(%(count)s * pow(random(), 3))::int],
  CASE WHEN n %% 5000 = 1 AND status IN ('completed', 'failed') THEN 'live' ELSE 'async' END,
  'https://audio.example.com/' || n || '.wav', '', '', '', '', '{{"model": "nova-3"}}',
  '{{}}', '', status, CASE WHEN status = 'queued' THEN NULL WHEN n %% 10007 = 0 THEN 'rare'
  WHEN n %% 3 = 0 THEN 'us' ELSE 'eu' END,
  CASE WHEN status IN ('queued', 'processing') THEN NULL
       ELSE at + interval '1 s' * (2 + 30 * pow(random(), 4)) END,
  CASE WHEN status = 'queued' THEN NULL ELSE at END, (ARRAY[0, 3, 6, 6, 6, 9])[1 + n %% 6],
  '*', status = 'queued', '', CASE WHEN status = 'queued' THEN 0 ELSE 1 END,
  CASE WHEN status = 'processing' THEN now() + interval '1 hour' END, 0, 5, 0,
  CASE WHEN status = 'failed' THEN 'upstream_error' ELSE '' END, '', '[]', at,
  60 + 600 * random(), CASE WHEN n %% 10 = 0 THEN 'episode-' || n ELSE '' END
FROM (
  SELECT n, now() - (%(jobs)s - n) * %(step)s::interval AS at,
    CASE WHEN n %% 20 = 7 THEN 'queued' WHEN n > %(jobs)s - 300 THEN 'processing'
         WHEN n %% 50 = 3 THEN 'failed' WHEN n %% 1000 = 4 THEN 'canceled'
         WHEN n %% 300000 = 5 THEN 'expired' ELSE 'completed' END AS status
  FROM generate_series(1, %(jobs)s) AS n
) AS made
"""
_ATTEMPTS = """
INSERT INTO jobs_attempt (
  id, job_id, tenant_id, model, lease_token, region_id, worker, outcome, request_id,
  error_code, audio_seconds, cost_estimate, started_at, finished_at)
SELECT id, id, tenant_id, 'nova-3', 1, region_id, '',
  CASE WHEN status = 'failed' THEN 'error' ELSE 'ok' END, 'req-' || md5(id::text), '',
  duration_seconds, duration_seconds * 0.0043 / 60, started_at, finished_at
FROM jobs_job WHERE finished_at IS NOT NULL
"""
_EVENTS = f"""
INSERT INTO jobs_event (id, tenant_id, job_id, type, data, actor, created_at, fanned_out_at, xid)
SELECT {_ID}, %(tenant)s, NULL, 'job.completed', '{{}}', '', at, at, pg_current_xact_id()
FROM (SELECT n, now() - (%(events)s - n) * interval '43.2 ms' AS at
      FROM generate_series(1, %(events)s) AS n) AS made
"""
_DELIVERIES = f"""
INSERT INTO webhooks_webhookdelivery (
  id, tenant_id, event_id, endpoint_id, url, target, status, attempts, step, trigger,
  is_claimed, is_held, claim_token, created_at, finished_at)
SELECT {_ID}, %(tenant)s, md5(n::text)::uuid,
  (%(endpoints)s::uuid[])[1 + n %% array_length(%(endpoints)s::uuid[], 1)], '', 'x',
  'delivered', 1, 0, 'scheduled', false, false, 1, at, at
FROM (SELECT n, now() - (%(deliveries)s - n) * interval '86.4 ms' AS at
      FROM generate_series(1, %(deliveries)s) AS n) AS made
"""
_TRIES = """
INSERT INTO webhooks_deliveryattempt (
  delivery_id, claim_token, trigger, started_at, duration_ms, status_code, error,
  response_excerpt)
SELECT id, 1, 'scheduled', created_at, 20 + 900 * random(), 200, '', ''
FROM webhooks_webhookdelivery ORDER BY id
"""


def run() -> list[Row]:
    """Fill the tables, ask for everything, and write down the plans of the figures."""
    fill()
    client = Client()
    client.force_login(User.objects.create_superuser(uuid4().hex))
    rows = [
        yardstick.build_row("operators", yardstick.measure()),
        *(_measure(client, *each) for each in _figures()),
        *(
            _measure(client, f"list: {name}", url, lambda: None)
            for name, url in _lists()
        ),
    ]
    _explain(client)
    return rows


def fill() -> None:
    """Make a day."""
    tenants = Tenant.objects.bulk_create(Tenant(name=f"t-{n}") for n in range(TENANTS))
    for name in ("eu", "us", "rare"):
        Region.objects.create(name=name, base_url="http://127.0.0.1:1")
    for number in range(20):
        name = f"worker-{number}"
        Worker.objects.create(name=name, slots=16, busy=9, seen_at=timezone.now())
    endpoints = WebhookEndpoint.objects.bulk_create(
        WebhookEndpoint(tenant=tenants[n], url=f"https://h{n}.example.com/")
        for n in range(50)
    )
    given = {
        "tenants": [each.pk for each in tenants],
        "tenant": tenants[0].pk,
        "count": TENANTS,
        "jobs": JOBS,
        "step": max(_since_midnight(), timedelta(hours=2)) / JOBS,
        "events": EVENTS,
        "deliveries": DELIVERIES,
        "endpoints": [each.pk for each in endpoints],
    }
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for sql in (_JOBS, _ATTEMPTS, _EVENTS, _DELIVERIES, _TRIES):
            cursor.execute(sql, given)
        cursor.execute("SET session_replication_role = origin")
        for table in ("jobs_job", "jobs_attempt", "jobs_event"):
            cursor.execute(f"VACUUM ANALYZE {table}")
        cursor.execute("ANALYZE")


def _since_midnight() -> timedelta:
    now = timezone.now()
    return now - now.replace(hour=0, minute=0, second=0, microsecond=0)


def _figures() -> Iterator[tuple[str, str, Any]]:
    now, today = "/admin/figures/now/", "/admin/figures/today/"
    yield "page, without figures", "/admin/", lambda: None
    yield "figures of now, cold", now, _forget_all
    yield "figures of now", now, admin_site_statistics.read_now.forget
    yield "figures of today, cold", today, _forget_all
    yield "figures of today", today, admin_site_statistics.read_today.forget


def _forget_all() -> None:
    for each in (
        admin_site_statistics.read_now,
        admin_site_statistics.read_today,
        activity.minutes,
        activity.hours,
    ):
        each.forget()


def _lists() -> Iterator[tuple[str, str]]:
    job = Job.objects.order_by("pk")[JOBS // 2]
    big, small = Tenant.objects.get(name="t-0"), Tenant.objects.get(name="t-900")
    call = job.attempts.first()
    yield "newest", LIST
    yield "hundredth page", f"{LIST}?p=100"
    for status in (
        "queued",
        "processing",
        "completed",
        "failed",
        "canceled",
        "expired",
    ):
        yield status, f"{LIST}?status__exact={status}"
    yield "live", f"{LIST}?kind=live"
    yield "rare region", f"{LIST}?region__name__exact=rare"
    yield "rare region, failed", f"{LIST}?region__name__exact=rare&status__exact=failed"
    yield "last hour, failed", f"{LIST}?created=hour&status__exact=failed"
    yield "a day", f"{LIST}?created={timezone.now():%Y-%m-%d}"
    yield (
        "large tenant, queued",
        f"{LIST}?tenant__id__exact={big.pk}&status__exact=queued",
    )
    yield (
        "small tenant, canceled",
        f"{LIST}?tenant__id__exact={small.pk}&status__exact=canceled",
    )
    yield "by id", f"{LIST}?q={job.pk}"
    yield "by custom id", f"{LIST}?q=episode-500000"
    yield "by request id", f"{LIST}?q={call.request_id if call else ''}"
    yield "by tenant's name", f"{LIST}?q=t-900"
    yield "by nothing there is", f"{LIST}?q=nothing-there-is"
    yield "attempts", "/admin/jobs/attempt/"
    yield "attempts, unknown", "/admin/jobs/attempt/?outcome__exact=unknown"
    yield "events", "/admin/jobs/event/"
    yield "deliveries", "/admin/webhooks/webhookdelivery/"
    yield "tenants", "/admin/jobs/tenant/"


def _measure(client: Client, name: str, url: str, before: Any) -> Row:
    times, factors = [], []
    for _ in range(ROUNDS + 1):
        before()
        began = time.perf_counter()
        answer = client.get(url)
        times.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:
            raise RuntimeError(f"{url} answers {answer.status_code}")
        factors.append(yardstick.sample())
    # The first may read what no memory holds; it is not counted, as elsewhere.
    middle, worst = median(times[1:]), max(times[1:])
    limit = LIMIT_MS * median(factors)
    return Row(
        bench="operators",
        figure=name,
        ours=f"{middle:.0f} ms, at worst {worst:.0f}",
        **({} if name in ONCE else at_most(middle, limit, " ms")),
    )


def _explain(client: Client) -> None:
    """Write down the plans of what the dashboard asks, cold."""
    plans: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith("SELECT"):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", params)
                plan = "\n".join(line for (line,) in cursor.fetchall())
            plans.append(f"{shorten(sql)}\n\n{plan}")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        for url in ("/admin/figures/now/", "/admin/figures/today/"):
            _forget_all()
            client.get(url)
    head = f"What the dashboard asks of {JOBS:,} jobs, cold.\n"
    EXPLAINED.write_text(head + "".join(f"\n{'=' * 78}\n{each}\n" for each in plans))
