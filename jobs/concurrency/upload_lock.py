"""Reject a repeated upload while the first one is in progress, before its body is read.

Locks a file next to the uploads: the kernel releases it when the process ends, and it
needs no database connection while a slow body arrives. This only saves work;
``jobs.rest.idempotency`` guarantees that one key creates one job.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from jobs.errors import RequestInFlight
from jobs.models import Tenant


@contextmanager
def reject_concurrent_repeats(
    *, tenant: Tenant, route: str, key: str, is_upload: bool
) -> Iterator[None]:
    """Raise RequestInFlight if an upload with this key is in progress.

    An upload (``is_upload``) holds the key while the block runs; others only check it.
    """
    path = _build_path(f"{tenant.pk}\n{route}\n{key}")
    if key and is_upload:
        descriptor = _lock(path)
        try:
            yield
        finally:
            _unlock(path, descriptor)
        return
    if key and path.exists():
        _unlock(path, _lock(path))  # left by a process that was killed
    yield


def _build_path(name: str) -> Path:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Path(settings.INCOMING_ROOT) / f"{digest}.key"


def _lock(path: Path) -> int:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise RequestInFlight from None
        if _is_same_file(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last owner removed it concurrently


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _unlock(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)  # before the unlock: another process may lock it then
    os.close(descriptor)
