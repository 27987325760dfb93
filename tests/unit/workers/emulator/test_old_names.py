"""The old command and imports work for one version (docs/upgrades.md, Old names)."""

import subprocess
import sys

from workers.deepgram.emulator.live import cells
from workers.emulator.engines.live import cells as new_cells


def test_the_old_import_returns_the_same_module():
    assert cells is new_cells
    assert cells.find_words(cells.speech(2.0, seed=1), 16_000)


def test_the_old_command_runs_the_emulator():
    done = subprocess.run(
        [sys.executable, "-m", "workers.deepgram.emulator", "--concurrency", "-1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert "concurrency cannot be negative" in done.stderr
