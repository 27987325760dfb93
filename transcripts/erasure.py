"""Erase the transcripts of jobs; registered in ``settings.ERASERS``."""

from collections.abc import Sequence
from datetime import datetime

from jobs.models import Job
from jobs.retention import stored_objects
from transcripts.models import LiveFinal, SearchEntry, Transcript


def erase_transcripts(jobs: Sequence[Job], now: datetime) -> dict[str, int]:
    """Delete transcripts and search entries; documents in storage after the commit.

    Stored finals of live sessions are deleted too, but not counted.
    """
    LiveFinal.objects.filter(job__in=jobs).delete()
    SearchEntry.objects.filter(pk__in=[job.pk for job in jobs]).delete()
    rows = Transcript.objects.filter(job__in=jobs)
    documents = list(rows.exclude(raw="").values_list("raw", flat=True))
    stored_objects.erase_after_commit(documents, now=now)
    deleted, _ = rows.delete()
    return {"transcripts": deleted, "raw_documents": len(documents)}
