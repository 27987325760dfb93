"""Probes of a real run: what is frozen is seen, and is well again once it goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.platform_run import Run
from workers.embedded.processes import wait_until

WRITERS = ("worker", "webhooks", "dispatcher", "beat")
ROLES = (*WRITERS, "live")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("run_platform"),
]


@contextmanager
def frozen(pids: set[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def group_of(pid: int) -> set[int]:
    """Return a process and its children: a web server's workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid, *map(int, children)}


def red(run: Run, ready: dict[str, Any]) -> set[str]:
    """Ask all probes at once, as production asks them but more impatiently."""
    environment = {**os.environ, "PROBE_DIR": str(run.folder / "probes")}
    asked = {
        role: subprocess.Popen(
            [
                *(sys.executable, "manage.py", "probe", role, "--within", "3"),
                *("--url", f"{ready['web']}/health/live"),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for role in ROLES
    }
    return {role for role, process in asked.items() if process.wait(30)}


def test_what_is_frozen_is_red_and_green_once_it_goes_on(first_run: Run) -> None:
    ready = first_run.ready()
    pids = ready["pids"]

    def is_red(*roles: str) -> bool:
        return wait_until(
            lambda: red(first_run, ready) == set(roles), seconds=60, every=1
        )

    assert is_red()

    # All at once: to be red takes some seconds.
    with frozen({*(pids[role] for role in WRITERS), *group_of(pids["web"])}):
        assert is_red(*ROLES)

    assert is_red()
