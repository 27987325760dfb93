"""A hundred thousand urgent jobs of one tenant, and a hundred normal ones of another.

Twenty slots, calls of 0.5 to 1.5 s; the urgent backlog is already running. Judged: how
long the other tenant's first job waits for its start, and its share of the slots in use
from one call later until its last job has started. Then forty tenants with ten jobs each
on twenty slots: how many tenants have started no job after 80 starts.
"""

import time
from datetime import timedelta
from statistics import fmean

from django.db import connection
from django.utils import timezone

from jobs import services
from jobs.models import Job, Tenant
from jobs.state import JobStatus
from tests.bench import ours, upstream
from tests.bench.rows import Row, at_least, at_most
from tests.bench.stage import Stage, wait_for

URGENT, NORMAL = 100_000, 100
SLOTS = 20
LONGEST_CALL = 1.5
TICKS = 2 * 0.1
MANY_TENANTS, JOBS_EACH = 40, 10


def run(stage: Stage) -> list[Row]:
    """Run both scenes on one platform."""
    with (
        upstream.customer(stage) as customer,
        upstream.emulator(stage, latency_min=0.5, latency_max=LONGEST_CALL) as emulator,
    ):
        ours.make_region("local", emulator, max_concurrent=SLOTS)
        audio_url = customer.body["audio_url"]
        with ours.platform(stage, workers={"local": (SLOTS + 10,)}, has_web=False):
            return [*one_against_another(audio_url), tenants_without_turn(audio_url)]


def one_against_another(audio_url: str) -> list[Row]:
    """Measure the wait and the share of the small tenant."""
    flooding, small = ours.make_tenant("flooding"), ours.make_tenant("small")
    ours.insert_jobs(flooding, URGENT, audio_url=audio_url, priority=0)
    ours.analyze()
    wait_for(lambda: running_of(flooding) == SLOTS, "the slots were not filled")
    time.sleep(3)
    submitted_at = ours.insert_jobs(small, NORMAL, audio_url=audio_url)
    shares: list[float] = []
    steady_from = time.monotonic() + LONGEST_CALL + TICKS
    while ours.count_jobs(tenant=small, status=JobStatus.QUEUED):
        if time.monotonic() > steady_from:
            own, total = running_of(small), running_of(None)
            shares.append(own / max(1, total))
        time.sleep(0.1)
    first = Job.objects.filter(tenant=small, started_at__isnull=False)
    started_at = first.order_by("started_at").values_list("started_at", flat=True)[0]
    waited = (started_at - submitted_at) / timedelta(seconds=1)
    return [
        Row(
            bench="fairness",
            figure=f"{URGENT:,} urgent of another: first start after",
            ours=f"{waited:.2f} s",
            **at_most(waited, TICKS + LONGEST_CALL, " s"),
        ),
        Row(
            bench="fairness",
            figure="… share of the slots used until done",
            ours=f"{fmean(shares):.0%}",
            # Half, as seen by samples that cut through a hand-over now and then.
            **at_least(round(fmean(shares), 2), 0.49),
        ),
    ]


def tenants_without_turn(audio_url: str) -> Row:
    """Count tenants that ran nothing while others ran twice."""
    for tenant in Tenant.objects.all():
        services.pause_tenant(tenant=tenant, now=timezone.now())
    tenants = [ours.make_tenant(f"many-{number}") for number in range(MANY_TENANTS)]
    for tenant in tenants:
        ours.insert_jobs(tenant, JOBS_EACH, audio_url=audio_url)
    starts = MANY_TENANTS * 2
    wait_for(
        lambda: (
            ours.count_jobs(tenant__name__startswith="many-", started_at__isnull=False)
            >= starts
        ),
        "the tenants' jobs do not run",
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT tenant_id) FROM jobs_job JOIN jobs_tenant t"
            " ON t.id = tenant_id WHERE t.name LIKE 'many-%%' AND started_at NOTNULL",
            [],
        )
        served = cursor.fetchone()[0]
    without = MANY_TENANTS - served
    return Row(
        bench="fairness",
        figure=f"{MANY_TENANTS} tenants, {SLOTS} slots: no turn after {starts} starts",
        ours=f"{without} tenants",
        **at_most(without, 0),
    )


def running_of(tenant: Tenant | None) -> int:
    """Count the running jobs of one tenant, or of all."""
    filters = {"tenant": tenant} if tenant else {}
    return ours.count_jobs(status=JobStatus.PROCESSING, **filters)
