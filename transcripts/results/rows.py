"""Read the jobs and rejected lines of a batch in pages, in batch order.

Each page is one short query, so rows erased in the meantime are not returned.
"""

from collections.abc import Iterator
from decimal import Decimal

from django.db.models import OuterRef, Q, QuerySet, Subquery, Sum

from jobs.models import Attempt, Batch, BatchError, Job
from jobs.rest.downloads import brief_connection
from jobs.state import FINAL, JobStatus
from transcripts.models import Transcript

PAGE_ROWS = 500
# With transcript texts.
PAGE_TEXTS = 50


def read_completed(batch: Batch, *, has_texts: bool = False) -> Iterator[Job]:
    """Yield the completed jobs with their transcripts."""
    rows = _jobs(batch).filter(status=JobStatus.COMPLETED).select_related("transcript")
    if has_texts:
        yield from _read(rows, PAGE_TEXTS)
    else:
        yield from _read(rows.defer("transcript__text"), PAGE_ROWS)


def read_failed(batch: Batch) -> Iterator[Job]:
    """Yield the jobs that ended without a transcript."""
    rows = _jobs(batch).filter(status__in=FINAL - {JobStatus.COMPLETED})
    yield from _read(rows, PAGE_ROWS)


def read_rejected(batch: Batch) -> Iterator[BatchError]:
    """Yield the errors of the rejected lines."""
    rows = BatchError.objects.filter(batch=batch).order_by("line", "pk")
    after = Q()
    while True:
        with brief_connection():
            page = list(rows.filter(after)[:PAGE_ROWS])
        yield from page
        if len(page) < PAGE_ROWS:
            return
        line, last = page[-1].line, page[-1].pk
        after = Q(line__gt=line) | Q(line=line, pk__gt=last)


def get_transcript(job: Job) -> Transcript | None:
    """Return the transcript of a job, or None."""
    return getattr(job, "transcript", None)


def get_cost(job: Job) -> Decimal | None:
    """Return the cost of all calls of a job that this module read; None if unknown."""
    cost: Decimal | None = vars(job)["cost"]
    return cost


def _jobs(batch: Batch) -> QuerySet[Job]:
    calls = Attempt.objects.filter(job=OuterRef("pk")).order_by().values("job")
    cost = Subquery(calls.annotate(cost=Sum("cost_estimate")).values("cost"))
    return Job.objects.filter(batch=batch).annotate(cost=cost).order_by("pk")


def _read(rows: QuerySet[Job], size: int) -> Iterator[Job]:
    after = Q()
    while True:
        with brief_connection():
            page = list(rows.filter(after)[:size])
        yield from page
        if len(page) < size:
            return
        after = Q(pk__gt=page[-1].pk)
