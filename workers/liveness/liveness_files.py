"""The files between a process and its probe; plain Python, as the probe must be quick.

Times are of the monotonic clock, which all processes of a machine share.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

DEFAULT_FOLDER = Path(__file__).parents[2] / "var" / "probes"


@dataclass(frozen=True, slots=True, kw_only=True)
class LivenessRecord:
    """What a process wrote last: of each part when it last got on, and its limit."""

    pid: int
    # When the process began, in the kernel's ticks: a number is given out again.
    started: int
    roles: list[str]
    written_at: float
    parts: dict[str, tuple[float, float]]


def folder_of(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the files are."""
    return Path(environment.get("PROBE_DIR") or DEFAULT_FOLDER)


def path_of(folder: Path, pid: int) -> Path:
    """Return a process's file."""
    return folder / f"{pid}.json"


def write(folder: Path, beat: LivenessRecord) -> None:
    """Replace the process's file at once; raises OSError."""
    path = path_of(folder, beat.pid)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(beat)))
    partial.replace(path)


def read_all(folder: Path) -> list[LivenessRecord]:
    """Return what the processes that live have written; clear up after the dead."""
    beats = []
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            beat = LivenessRecord(**json.loads(path.read_text()))
            if started_of(beat.pid) == beat.started:
                beats.append(beat)
            else:
                path.unlink(missing_ok=True)
    return beats


def started_of(pid: int) -> int:
    """Return when a process began, by proc(5); 0 for one that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    state, *fields = stat.rpartition(")")[2].split()
    return 0 if state in {"Z", "X"} else int(fields[18])
