"""Limit the disk space of one tenant's uploads in progress.

The size is that of ``Content-Length``. One tenant's uploads may use at most half of the
free space, so that other tenants can upload. Counted per process.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock

from jobs.errors import ServiceUnavailable

SHARE = 0.5
_lock = Lock()
_reserved: Counter[Hashable] = Counter()


def reserve(owner: Hashable, size_bytes: int, folder: Path) -> Callable[[], None]:
    """Reserve space and return a function that releases it.

    Raises ServiceUnavailable if the owner's share is exhausted.
    """
    with _lock:
        free = shutil.disk_usage(folder).free
        if _reserved[owner] + size_bytes > free * SHARE:
            raise ServiceUnavailable("The disk space for uploads is exhausted.")
        _reserved[owner] += size_bytes

    def release() -> None:
        with _lock:
            _reserved[owner] -= size_bytes
            if _reserved[owner] <= 0:
                del _reserved[owner]

    return release


def reserved_bytes() -> int:
    """Return the total reserved space of this process."""
    return _reserved.total()
