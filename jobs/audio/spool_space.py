"""Bound the disk space that one tenant's uploads in progress may take.

A tenant announces each upload's size. Together they may take at most half of the space
that is free, so that uploads of other tenants always find room. Counted per process.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock

from jobs.errors import ServiceUnavailable

SHARE = 0.5
_lock = Lock()
_held: Counter[Hashable] = Counter()


def reserve(owner: Hashable, size_bytes: int, folder: Path) -> Callable[[], None]:
    """Reserve space and return what releases it; raise ServiceUnavailable for none."""
    with _lock:
        free = shutil.disk_usage(folder).free
        if _held[owner] + size_bytes > free * SHARE:
            raise ServiceUnavailable("There is no room for uploads now.")
        _held[owner] += size_bytes

    def release() -> None:
        with _lock:
            _held[owner] -= size_bytes
            if _held[owner] <= 0:
                del _held[owner]

    return release


def held_bytes() -> int:
    """Return the space that is reserved in this process."""
    return _held.total()
