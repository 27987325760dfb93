"""Record the progress of this process's parts and write it to a file every second.

Each part marks its own progress, so the mark of a stuck part ages. The file of a frozen
process ages as a whole.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from django.conf import settings

from workers.liveness import liveness_files

logger = logging.getLogger(__name__)

WRITE_SECONDS = 1.0


class LivenessWriter:
    """The marks by part; marks of parts without a limit are not written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._roles: list[str] = []
        self._limits: dict[str, float] = {}
        self._marks: dict[str, float] = {}
        self._has_warned = False

    def begin(self, *roles: str, parts: Mapping[str, float]) -> None:
        """Start writing; ``parts`` maps each part to its limit in seconds."""
        self._roles += roles
        self._marks = dict.fromkeys(parts, time.monotonic())
        self._limits = dict(parts)
        atexit.register(self.end)
        threading.Thread(target=self._run, name="liveness", daemon=True).start()

    def mark(self, part: str) -> None:
        """Record that the part made progress now."""
        self._marks[part] = time.monotonic()

    def drop(self, *parts: str) -> None:
        """Stop checking these parts, which end normally."""
        for part in parts:
            self._limits.pop(part, None)

    def end(self) -> None:
        """Delete the file at a normal exit."""
        liveness_files.path_of(self._folder, os.getpid()).unlink(missing_ok=True)

    def write(self) -> None:
        """Write the file; warns once if the folder is not writable."""
        pid = os.getpid()
        record = liveness_files.LivenessRecord(
            pid=pid,
            started=liveness_files.started_of(pid),
            roles=self._roles,
            written_at=time.monotonic(),
            parts={
                part: (self._marks[part], limit)
                for part, limit in list(self._limits.items())
            },
        )
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            liveness_files.write(self._folder, record)
        except OSError:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("PROBE_DIR is not writable, liveness probes will fail")

    def _run(self) -> None:
        while True:
            self.write()
            time.sleep(WRITE_SECONDS)


@cache
def get_liveness_writer() -> LivenessWriter:
    """Return the process's writer."""
    return LivenessWriter(settings.PROBE_DIR)
