"""Delete stored objects without a database row after a day."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, islice
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone

from jobs.models import IdempotencyKey, Job
from jobs.retention import stored_objects
from jobs.state import OPEN
from transcripts.models import Transcript

logger = logging.getLogger(__name__)

_BATCH = 500


def sweep(*, older_than: datetime) -> int:
    """Delete objects without a row that are older; return how many.

    Objects of erased jobs whose deletion was interrupted are deleted at any age. Also
    deletes expired idempotency keys.
    """
    erased = stored_objects.purge_left_over()
    # "incoming" contains partial uploads of killed servers.
    names = chain(_walk("audio"), _walk("raw"), _walk("incoming"))
    while batch := list(islice(names, _BATCH)):
        erased += _erase_orphans(batch, older_than=older_than)
    oldest = timezone.now() - timedelta(hours=settings.IDEMPOTENCY_HOURS)
    IdempotencyKey.objects.filter(created_at__lt=oldest).delete()
    logger.info("storage swept", extra={"erased": erased})
    return erased


def _walk(folder: str) -> Iterator[str]:
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for file in files:
        yield f"{folder}/{file}"
    for inner in folders:
        yield from _walk(f"{folder}/{inner}")


def _erase_orphans(names: list[str], *, older_than: datetime) -> int:
    jobs = Job.objects.filter(upload__in=names).exclude(upload="")
    known = set(jobs.values_list("upload", flat=True))
    known |= set(Transcript.objects.filter(raw__in=names).values_list("raw", flat=True))
    known |= _find_results_of_open_jobs(names)
    erased = 0
    for name in names:
        if name in known or default_storage.get_modified_time(name) > older_than:
            continue
        default_storage.delete(name)
        erased += 1
    return erased


def _find_results_of_open_jobs(names: list[str]) -> set[str]:
    """Return the results of jobs that have not ended, which may adopt them."""
    jobs: dict[UUID, list[str]] = defaultdict(list)
    for name in names:
        folder, _, rest = name.partition("/")
        if folder == "raw":  # raw/tenant/job/attempt.json.gz
            with suppress(IndexError, ValueError):
                jobs[UUID(rest.split("/")[1])].append(name)
    still_open = Job.objects.filter(pk__in=jobs, status__in=sorted(OPEN))
    return {name for job in still_open for name in jobs[job.pk]}
