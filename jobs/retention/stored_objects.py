"""Delete stored objects whose rows are erased: after the commit, and surely.

The names are committed with the erasure. Whoever dies between the commit and the
deletion leaves them to ``purge_left_over``, which beat runs every hour.
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

_MOST = 100_000  # in one run; the next goes on


def erase_after_commit(names: Collection[str], *, now: datetime) -> None:
    """Delete the objects once this transaction holds."""
    ObjectToErase.objects.bulk_create(
        (ObjectToErase(name=name, created_at=now) for name in names),
        ignore_conflicts=True,
    )
    transaction.on_commit(partial(_erase, names))


def purge_left_over() -> int:
    """Delete what an earlier run did not come to; return how many objects went."""
    left = ObjectToErase.objects.order_by("pk").values_list("name", flat=True)
    return _erase(left[:_MOST])


def _erase(names: Iterable[str]) -> int:
    """Delete objects that no job names any more, and forget that it was to be done.

    A retried job shares its audio with the new one: that goes with the last of them.
    """
    erased = 0
    for name in names:
        try:
            if not is_named(name):
                _delete(name)
            ObjectToErase.objects.filter(name=name).delete()
        except Exception:
            # Whatever a storage raises: the erasure stands, and this is tried again.
            logger.exception("an erased job's object could not be deleted")
        else:
            erased += 1
    return erased


def is_named(name: str) -> bool:
    """Tell whether a job holds this object as its audio."""
    return Job.objects.filter(upload=name).exclude(upload="").exists()


def _delete(name: str) -> None:
    default_storage.delete(name)
    if isinstance(default_storage, FileSystemStorage):
        folder = Path(default_storage.path(name)).parent
        # The folder is the object's own, unless somebody is just writing there.
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
