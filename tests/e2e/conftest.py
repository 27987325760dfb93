"""Two runs of the platform, one after the other: starting one is dear.

The second goes on with the first one's backup, restored into another cluster.

The first is shared by whoever only uses it, before `test_run_platform.py` kills it; all
of them are in one group of xdist, and so in one process.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import backup
from tests.support.platform_run import Run
from tests.support.webhook_receiver import Receiver, listening
from workers.embedded.binaries import scratch_folder


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    made = scratch_folder("transcribe-e2e-")
    yield made / "data"
    subprocess.run(["rm", "-rf", str(made)], check=True)


@pytest.fixture(scope="session")
def runs() -> list[Run]:
    """Every run of the folder so far."""
    return []


@pytest.fixture(scope="session")
def hooks() -> Iterator[Receiver]:
    """The only address of ours that the first run's webhooks may reach."""
    with listening() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def first_run(run_folder: Path, runs: list[Run], hooks: Receiver) -> Iterator[Run]:
    started = begin(
        run_folder,
        runs,
        LOG_FORMAT="json",
        EGRESS_ALLOW=f"{hooks.host}:{hooks.port}",
        BACKOFF_BASE_SECONDS="0.1",
    )
    yield started
    end(started)


@pytest.fixture(scope="session")
def left_behind() -> list[str]:
    """Jobs that the first run did not come to the end of."""
    return []


@pytest.fixture
def second_run(run_folder: Path, runs: list[Run], hooks: Receiver) -> Iterator[Run]:
    for earlier in runs:
        end(earlier)
    restored = run_folder.with_name("restored")
    backup.move(run_folder, restored)
    allowed = f"{hooks.host}:{hooks.port}"
    yield (started := begin(restored, runs, EGRESS_ALLOW=allowed))
    end(started)


def begin(folder: Path, runs: list[Run], **settings: str) -> Run:
    media = str(folder / "media")
    runs.append(Run(folder, LEASE_SECONDS="4", MEDIA_ROOT=media, **settings))
    return runs[-1]


def end(run: Run) -> None:
    run.process.terminate()
    run.process.wait(60)
