"""Keep the marks of this process's parts, and write them down each second.

A part marks its own progress: the mark of one that is stuck grows old. A frozen process
writes nothing, and its file grows old.
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
    """Marks by part; whoever marks what nobody expects says nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._roles: list[str] = []
        self._limits: dict[str, float] = {}
        self._marks: dict[str, float] = {}
        self._is_told = False

    def begin(self, *roles: str, parts: Mapping[str, float]) -> None:
        """Write from now on; ``parts``: how many seconds each may show no progress."""
        self._roles += roles
        self._marks = dict.fromkeys(parts, time.monotonic())
        self._limits = dict(parts)
        atexit.register(self.end)
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def mark(self, part: str) -> None:
        """Say that the part just got on."""
        self._marks[part] = time.monotonic()

    def drop(self, *parts: str) -> None:
        """Expect nothing of these any more: they end in order."""
        for part in parts:
            self._limits.pop(part, None)

    def end(self) -> None:
        """Take the file away: the process ends in order."""
        liveness_files.path_of(self._folder, os.getpid()).unlink(missing_ok=True)

    def write(self) -> None:
        """Write the marks down; a folder that cannot be written is said once."""
        pid = os.getpid()
        beat = liveness_files.LivenessRecord(
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
            liveness_files.write(self._folder, beat)
        except OSError:
            if not self._is_told:
                self._is_told = True
                logger.warning("probes see nothing: PROBE_DIR cannot be written")

    def _run(self) -> None:
        while True:
            self.write()
            time.sleep(WRITE_SECONDS)


@cache
def get_liveness_writer() -> LivenessWriter:
    """Return this process's own."""
    return LivenessWriter(settings.PROBE_DIR)
