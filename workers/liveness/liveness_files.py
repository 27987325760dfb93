"""Liveness files: written by each process, read by its probe. Imports no Django.

Times are of the monotonic clock, which all processes on a machine share.
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
    """A process's liveness: per part its last progress and its limit in seconds."""

    pid: int
    # The start time in clock ticks since boot: pids are reused.
    started: int
    roles: list[str]
    written_at: float
    parts: dict[str, tuple[float, float]]


def folder_of(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the files, from PROBE_DIR."""
    return Path(environment.get("PROBE_DIR") or DEFAULT_FOLDER)


def path_of(folder: Path, pid: int) -> Path:
    """Return the path of a process's file."""
    return folder / f"{pid}.json"


def write(folder: Path, record: LivenessRecord) -> None:
    """Replace the process's file atomically; raises OSError."""
    path = path_of(folder, record.pid)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record)))
    partial.replace(path)


def read_all(folder: Path) -> list[LivenessRecord]:
    """Return the records of live processes; delete those of dead ones."""
    records = []
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            record = LivenessRecord(**json.loads(path.read_text()))
            if started_of(record.pid) == record.started:
                records.append(record)
            else:
                path.unlink(missing_ok=True)
    return records


def started_of(pid: int) -> int:
    """Return a process's start time from proc(5), in clock ticks; 0 if it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    state, *fields = stat.rpartition(")")[2].split()
    return 0 if state in {"Z", "X"} else int(fields[18])
