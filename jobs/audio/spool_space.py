"""Limit the disk space of one tenant's uploads in progress.

The size is that of ``Content-Length``, or grows with a body of unknown length. One
tenant's uploads may use at most half of the free space, so that other tenants can
upload. Counted per process.
"""

import shutil
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from threading import Lock

from jobs.errors import ServiceUnavailable

SHARE = 0.5
_lock = Lock()
_reserved: Counter[Hashable] = Counter()


class SpaceReservation:
    """The reserved space of one upload."""

    def __init__(self, owner: Hashable, folder: Path) -> None:
        self._owner, self._folder = owner, folder
        self.size_bytes = 0

    def extend(self, size_bytes: int) -> None:
        """Reserve more; raises ServiceUnavailable if the owner's share is exhausted."""
        with _lock:
            free = shutil.disk_usage(self._folder).free
            if _reserved[self._owner] + size_bytes > free * SHARE:
                raise ServiceUnavailable("The disk space for uploads is exhausted.")
            _reserved[self._owner] += size_bytes
            self.size_bytes += size_bytes

    def release(self) -> None:
        """Release all of it; again, nothing."""
        with _lock:
            _reserved[self._owner] -= self.size_bytes
            self.size_bytes = 0
            if _reserved[self._owner] <= 0:
                del _reserved[self._owner]
