"""One short round of `make drill`: all of one region of two dies under load."""

import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local import haproxy
from tests.chaos import cycle
from tests.chaos.platform import Setup, find_members
from tests.drill import judge, strikes
from tests.drill.load import Load
from tests.drill.stand import Drill, running, shape_of
from workers.embedded.binaries import scratch_folder
from workers.embedded.processes import EmbeddedError

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

PER_SECOND = 12.0


@pytest.fixture
def drill() -> Iterator[Drill]:
    try:
        haproxy.find()
    except EmbeddedError as error:
        pytest.skip(f"the loss of a region is NOT tested: {error}")
    folder: Path = scratch_folder("transcribe-round-")
    setup = Setup(lease_seconds=4.0, longest_call_seconds=0.5, threads=10)
    with running(folder / "data", setup, shape_of(setup, lean=True, count=2)) as drill:
        yield drill
    assert find_members(folder) == {}
    shutil.rmtree(folder, ignore_errors=True)


def test_a_region_is_lost_and_no_request_fails_and_every_job_ends(drill: Drill):
    lost = drill.regions[0]

    with closing(Load(drill, per_second=PER_SECOND)) as load:
        drill.wait(lambda: len(drill.bound) > 4, seconds=30, what="jobs of each region")
        drill.reload_front()
        drill.kill(*drill.of_region(lost))
        died_at = time.time()
        drill.wait(
            lambda: strikes.is_whole(drill, lost), seconds=90, what=f"{lost} is back"
        )
        load.stop()
    cycle.settle(drill)

    assert judge.find_broken(drill, load.sent) == []
    assert [each for each in load.sent if each.began > died_at and not each.failed]
    assert set(drill.bound.values()) == set(drill.regions)
