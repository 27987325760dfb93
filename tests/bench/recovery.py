"""kill -9 of a worker with running jobs: how long until all of them run again.

Leases of 4 s (LEASE_SECONDS in the environment), calls of 60 s, twenty jobs on one
worker; another worker has room for all of them. The 10 s for which a dead worker still
counts as seen have no effect here: its claims are counted against its own threads.
"""

import time

from jobs.models import Job, Worker
from jobs.state import JobStatus
from tests.bench import ours, upstream
from tests.bench.rows import Row, at_most
from tests.bench.stage import Stage, wait_for

JOBS = 20
LEASE_SECONDS = 4.0
TICKS = 2 * 0.1


def run(stage: Stage) -> list[Row]:
    """Kill the worker and wait for its jobs."""
    environment = {"LEASE_SECONDS": str(LEASE_SECONDS)}
    with (
        upstream.customer(stage) as customer,
        upstream.emulator(stage, latency_base=60) as emulator,
    ):
        tenant = ours.make_tenant("bench")
        ours.make_region("local", emulator, max_concurrent=3 * JOBS)
        audio_url = customer.body["audio_url"]
        with (
            ours.platform(
                stage,
                workers={"local": (2 * JOBS,)},
                webhook_threads=0,
                has_web=False,
                environment=environment,
            ) as platform,
        ):
            ours.insert_jobs(tenant, JOBS, audio_url=audio_url)
            wait_for(lambda: running() == JOBS, "the jobs did not start")
            dead = Worker.objects.get().name
            with ours.worker(
                stage, region="local", threads=2 * JOBS, environment=environment
            ):
                time.sleep(LEASE_SECONDS)  # the dispatcher must have been up a lease
                platform.processes["worker local 1"].kill()
                killed_at = time.monotonic()
                wait_for(
                    lambda: running(lease_token=2) == JOBS,
                    f"the jobs of {dead} do not run again",
                )
                took = time.monotonic() - killed_at
    return [
        Row(
            bench="recovery",
            figure=f"kill -9 of a worker with {JOBS} jobs: all run again after",
            ours=f"{took:.2f} s",
            **at_most(took, LEASE_SECONDS + TICKS, " s"),
        )
    ]


def running(**filters: int) -> int:
    """Count the jobs whose call has begun."""
    rows = Job.objects.filter(status=JobStatus.PROCESSING, started_at__isnull=False)
    return rows.filter(**filters).count()
