"""Delete the stored objects of erased rows, reliably and after the commit.

The names are committed with the erasure. If the process dies before the deletion,
``purge_left_over``, which Celery beat runs every hour, deletes them.
"""

import logging
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path

from django.core.files.storage import FileSystemStorage, default_storage
from django.db import transaction

from jobs.models import Job, ObjectToErase

logger = logging.getLogger(__name__)

_MAX_PER_RUN = 100_000


def erase_after_commit(names: Collection[str], *, now: datetime) -> None:
    """Delete the objects after the commit of this transaction."""
    ObjectToErase.objects.bulk_create(
        (ObjectToErase(name=name, created_at=now) for name in names),
        ignore_conflicts=True,
    )
    transaction.on_commit(partial(_erase, names))


def purge_left_over() -> int:
    """Delete the objects that earlier runs left; return how many were deleted."""
    names = ObjectToErase.objects.order_by("pk").values_list("name", flat=True)
    return _erase(names[:_MAX_PER_RUN])


def _erase(names: Iterable[str]) -> int:
    """Delete objects that no job references, and their ObjectToErase rows.

    A retried job shares its audio with the new one: the last erasure deletes it.
    """
    erased = 0
    for name in names:
        try:
            if not is_referenced(name):
                _delete(name)
            ObjectToErase.objects.filter(name=name).delete()
        except Exception:
            # Storages raise arbitrary errors. The row stays for the next run.
            logger.exception("an erased job's object could not be deleted")
        else:
            erased += 1
    return erased


def is_referenced(name: str) -> bool:
    """Return whether a job has this object as its audio."""
    return Job.objects.filter(upload=name).exclude(upload="").exists()


def _delete(name: str) -> None:
    default_storage.delete(name)
    if isinstance(default_storage, FileSystemStorage):
        folder = Path(default_storage.path(name)).parent
        # Each object has its own folder; a concurrent upload may be using it.
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
