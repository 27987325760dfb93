"""`manage.py run_platform` as a process of a test."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import ROOT
from workers.embedded.processes import log_tail, wait_until

SERVERS = ("DATABASE_URL", "REDIS_URL")


class Run:
    """One run of the command, and what it wrote when ready; settings go to all of it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.ready_file = folder / "ready.json"
        self.ready_file.unlink(missing_ok=True)
        self.output = folder.with_suffix(".out")
        own = {key: value for key, value in os.environ.items() if key not in SERVERS}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                (
                    *(sys.executable, "manage.py", "run_platform", "--port", "0"),
                    *("--data-dir", folder, "--ready-file", self.ready_file),
                ),
                cwd=ROOT,
                env={**own, **settings},
                stdout=output,
                stderr=output,
            )

    def ready(self) -> dict[str, Any]:
        """Wait for the ready file and return it."""
        assert wait_until(
            lambda: self.ready_file.exists() or self.process.poll() is not None,
            seconds=90,
        )
        assert self.ready_file.exists(), log_tail(self.output)
        answer: dict[str, Any] = json.loads(self.ready_file.read_text())
        return answer

    def members(self) -> set[int]:
        """Return every process that was started with this run's folder."""
        mark = str(self.folder).encode()
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                told = (entry / "environ").read_bytes() + (
                    entry / "cmdline"
                ).read_bytes()
            except OSError:
                continue
            if mark in told and int(entry.name) != self.process.pid:
                found.add(int(entry.name))
        return found
