"""Know which uploads are under way, so that a repeat of one is turned away at once.

A lock on a file beside the uploads: the kernel drops it with the process that had it,
however that ends, and it costs no connection while a body trickles in. It spares work
and decides nothing: that one key makes one job is ``jobs.rest.idempotency``'s.
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
def keep_repeats_out(
    *, tenant: Tenant, route: str, key: str, is_upload: bool
) -> Iterator[None]:
    """Raise RequestInFlight if an upload with this key is under way.

    What is an upload itself is under way while the block runs.
    """
    path = _path_of(f"{tenant.pk}\n{route}\n{key}")
    if key and is_upload:
        descriptor = _lock(path)
        try:
            yield
        finally:
            _let_go(path, descriptor)
        return
    if key and path.exists():
        _let_go(path, _lock(path))  # left by a process that died
    yield


def _path_of(name: str) -> Path:
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
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last holder removed it meanwhile


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _let_go(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)  # before the lock goes: afterwards it may be another's
    os.close(descriptor)
