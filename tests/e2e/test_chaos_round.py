"""One short round of `make chaos`: a worker and the web process die among running jobs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import cycle
from tests.chaos.disasters import DISASTERS
from tests.chaos.platform import Platform, Setup, find_members, running
from tests.support.database import own_databases
from workers.embedded.binaries import scratch_folder

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]

JOBS = 80
REDIS_NUMBER = 62  # other platforms have 60 and 61


@pytest.fixture
def platform() -> Iterator[Platform]:
    folder: Path = scratch_folder("transcribe-round-")
    setup = Setup(lease_seconds=2.0, longest_call_seconds=2.0, is_lean=True)
    with (
        own_databases(redis_number=REDIS_NUMBER) as urls,
        running(folder / "data", setup, urls) as started,
    ):
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
