"""Paid results on the local disk, encrypted, while the object storage is unavailable.

A restarted process stores them before it claims jobs, so that they are adopted and not
paid for again. If the local disk is full too, a result stays in memory only.
"""

import logging
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import InvalidToken
from django.conf import settings

from jobs.encryption import get_cipher
from jobs.models import Job
from transcripts import storage

logger = logging.getLogger(__name__)

_SUFFIX = ".spool"


def put(name: str, packed: bytes) -> bool:
    """Keep a packed document by its storage name; False if there is no space."""
    path = _path_of(name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sealed = get_cipher().encrypt(packed)
        used = sum(each.stat().st_size for each in path.parent.iterdir())
        if used + len(sealed) > settings.SPOOL_MAX_BYTES:
            logger.error("the spool of results is full")
            return False
        partial = path.with_suffix(".partial")
        partial.write_bytes(sealed)
        partial.replace(path)
    except OSError:
        logger.exception("a result could not be spooled")
        return False
    return True


def remove(name: str) -> None:
    """Remove a document; does nothing if there is none."""
    with suppress(OSError):
        _path_of(name).unlink(missing_ok=True)


def drain() -> int:
    """Store the spooled documents, except those of erased jobs; return how many.

    Raises OSError while the storage is unavailable. Another process may drain too.
    """
    drained = 0
    for path in sorted(settings.SPOOL_ROOT.glob(f"*{_SUFFIX}")):
        name = path.name.removesuffix(_SUFFIX).replace("~", "/")
        job_id = name.split("/")[2]
        try:
            packed = get_cipher().decrypt(path.read_bytes())
        except FileNotFoundError:
            continue
        except InvalidToken:
            logger.exception("a spooled result cannot be decrypted, and was removed")
            path.unlink(missing_ok=True)
            continue
        if Job.objects.filter(pk=job_id, erased_at=None).exists():
            storage.store_object(name, packed)
            drained += 1
        path.unlink(missing_ok=True)
    return drained


def _path_of(name: str) -> Path:
    folder: Path = settings.SPOOL_ROOT
    return folder / (name.replace("/", "~") + _SUFFIX)
