"""Erase the transcripts of jobs; registered in ``settings.ERASERS``."""

from collections.abc import Collection, Sequence
from datetime import datetime
from http import HTTPStatus

from django.core.files.storage import default_storage
from django.db.models import Q

from jobs.models import Attempt, Job
from jobs.retention import stored_objects
from transcripts import storage
from transcripts.models import LiveFinal, SearchEntry, Transcript
from transcripts.outcomes import spool


def erase_transcripts(jobs: Sequence[Job], now: datetime) -> dict[str, int]:
    """Delete transcripts and search entries; documents in storage after the commit.

    Stored finals of live sessions are deleted too, but not counted.
    """
    LiveFinal.objects.filter(job__in=jobs).delete()
    SearchEntry.objects.filter(pk__in=[job.pk for job in jobs]).delete()
    rows = Transcript.objects.filter(job__in=jobs)
    documents = list(rows.exclude(raw="").values_list("raw", flat=True))
    documents += _find_unused_documents(jobs, known=documents)
    stored_objects.erase_after_commit(documents, now=now)
    deleted, _ = rows.delete()
    return {"transcripts": deleted, "raw_documents": len(documents)}


def _find_unused_documents(jobs: Sequence[Job], *, known: Collection[str]) -> list[str]:
    """Return stored results that no transcript uses: suspect, or of canceled jobs."""
    names = [
        storage.name_of_result(attempt)
        for attempt in Attempt.objects.filter(
            Q(status_code=HTTPStatus.OK) | Q(outcome=Attempt.Outcome.UNKNOWN),
            job__in=jobs,
        )
    ]
    unused = [name for name in names if name not in known]
    for name in unused:
        spool.remove(name)
    return [name for name in unused if default_storage.exists(name)]
