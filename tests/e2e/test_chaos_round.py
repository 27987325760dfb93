"""Short rounds of `make chaos` and `make outages`, on one platform.

A worker and the web process die among running jobs; then some outages are produced.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import cycle
from tests.chaos.disasters import DISASTERS
from tests.chaos.platform import Platform, Setup, find_members, running
from tests.outages import play, stand, table
from workers.embedded import plan as plans
from workers.embedded.binaries import scratch_folder

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("chaos_round"),
]

JOBS = 80


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    folder: Path = scratch_folder("transcribe-round-")
    setup = Setup(lease_seconds=2.0, longest_call_seconds=2.0, is_lean=True)
    with running(folder / "data", setup) as started:
        yield started
    assert find_members(folder) == {}
    shutil.rmtree(folder, ignore_errors=True)


def test_every_job_ends_once_when_a_worker_and_web_are_killed(platform: Platform):
    load = cycle.Load(name="round", jobs=JOBS, per_second=40)
    strikes = [(0.4, DISASTERS["kill a busy worker"]), (0.8, DISASTERS["kill web"])]

    report = cycle.play(platform, load, strikes)

    assert report.broken == []
    assert report.unknown > 0  # calls were under way when the worker died
    assert len(platform.accepted) == JOBS
    killed = sorted(mark.what for mark in platform.marks)
    assert killed in (["kill web", f"kill worker-{number}"] for number in (1, 2))
    platform.wait_whole()  # the supervisor alone brought both back


OUTAGES = {"PostgreSQL read-only", "Redis out of memory (maxmemory)"}


def test_some_outages_are_seen_as_the_table_says(platform: Platform):
    metrics = plans.metrics_addresses(platform.supervisor.programs)
    rows = [row for row in table.TABLE if row.name in OUTAGES]
    with stand.sign_in(platform) as operator:
        watched = stand.Stand(
            platform=platform,
            operator=operator,
            metrics=metrics,
            lacking=frozenset({"NoBeat"}),  # this run has none
        ).learn()

        results = [play.play(watched, row) for row in rows]

    assert len(results) == len(OUTAGES)
    assert [each.differences for each in results] == [[]] * len(OUTAGES)
