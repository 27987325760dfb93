"""Read events in an order in which none is missed: what event streams are made of.

Events are ordered by the transaction that wrote them, and read only below the oldest
one of this database that is still open (the *horizon*). So one that began early and
commits late holds back what comes after it, and nothing is ever inserted behind a
reader's position.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.db import connection

from jobs.models import Batch, Job
from jobs.state import FINAL, JobStatus

# What customers may follow; an audit event is none of it.
BATCH_ENDED = "batch.completed"
JOB_ENDED = frozenset(f"job.{status}" for status in FINAL)
TYPES = (*(f"job.{status}" for status in JobStatus), "batch.progress", BATCH_ENDED)
# Of a job's event: what says nothing of the audio.
_SHOWN = ("attempt", "region", "reason", "cause", "priority", "run_at", "error")
_NOTHING = UUID(int=0)

# The oldest transaction that is still open and could have written here: a transaction
# belongs to one database, and who is seen at work in another one holds up nobody here.
_HORIZON = """
SELECT coalesce((
  SELECT running.xid FROM pg_snapshot_xip(snapshot) AS running(xid)
  WHERE NOT EXISTS (
    SELECT FROM pg_stat_get_activity(NULL) AS other
    WHERE other.backend_xid = running.xid::xid
      AND other.datid <>
        (SELECT oid FROM pg_database WHERE datname = current_database())
  )
  ORDER BY running.xid LIMIT 1
), pg_snapshot_xmax(snapshot)) AS xid
FROM pg_current_snapshot() AS snapshot
"""
_NOW = "SELECT xid::text FROM (HORIZON) AS horizon".replace("HORIZON", _HORIZON)
# One statement has one snapshot: the horizon is that of the very rows it returns. What
# is looked at is bounded, not what fits a filter: a page always costs the same.
_PAGE = """
WITH horizon AS MATERIALIZED (HORIZON), page AS MATERIALIZED (
  SELECT e.xid, e.id, e.tenant_id, e.type, e.job_id, e.batch_id, e.data, e.created_at
  FROM jobs_event e
  WHERE {of} AND (e.xid, e.id) > (%(xid)s::xid8, %(id)s::uuid)
    AND e.xid < (SELECT xid FROM horizon)
  ORDER BY e.xid, e.id LIMIT %(limit)s
)
SELECT horizon.xid::text, page.xid::text, page.id, page.tenant_id, page.type,
  page.job_id, coalesce(page.batch_id, job.batch_id), page.data, page.created_at
FROM horizon LEFT JOIN page ON true LEFT JOIN jobs_job job ON job.id = page.job_id
ORDER BY page.xid, page.id
""".replace("HORIZON", _HORIZON)
_NEXT = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
_MORE_OF_JOB = """
SELECT EXISTS (SELECT FROM jobs_event WHERE job_id = %s
  AND (xid, id) > (%s::xid8, %s::uuid) AND type = ANY(%s))
"""
_MORE_OF_BATCH = _MORE_OF_JOB.replace("job_id", "batch_id")


@dataclass(frozen=True, slots=True, order=True)
class EventPosition:
    """A place in the order of events: all up to it has been read."""

    xid: int
    event_id: UUID = _NOTHING

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote; raises ValueError for anything else."""
        xid, _, event_id = text.partition("-")
        if not (xid.isascii() and xid.isdecimal() and len(xid) < len(str(2**64))):
            raise ValueError(text)
        return cls(int(xid), UUID(event_id))

    def __str__(self) -> str:
        return f"{self.xid}-{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilters:
    """Which events of a tenant somebody follows; what is empty does not restrict."""

    tenant_id: UUID
    job_id: UUID | None = None
    batch_id: UUID | None = None
    types: frozenset[str] = frozenset()
    # A job's or a batch's stream ends with its last event.
    ends_with: frozenset[str] = frozenset()

    def has(self, told: "StreamedEvent") -> bool:
        """Tell whether the event is one of them."""
        return (
            told.tenant_id == self.tenant_id
            and self.job_id in {None, told.job_id}
            and self.batch_id in {None, told.batch_id}
            and (not self.types or told.type in self.types)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedEvent:
    """One event as customers are told of it."""

    position: EventPosition
    tenant_id: UUID
    type: str
    job_id: UUID | None
    batch_id: UUID | None  # also the one of its job
    data: dict[str, Any]
    at: datetime

    @property
    def status(self) -> str:
        """What the job or the batch was from then on."""
        if self.job_id:
            return self.type.removeprefix("job.")
        return str(self.data.get("status", ""))

    @property
    def shown(self) -> dict[str, Any]:
        """Its data without what is not a customer's business."""
        if not self.job_id:
            return self.data
        return {name: self.data[name] for name in _SHOWN if name in self.data}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events in order, and up to where that is all there is."""

    told: list[StreamedEvent]
    upto: EventPosition
    is_full: bool


def read_horizon() -> EventPosition:
    """Return the position of now: before it nothing more will come.

    A later call may return an earlier one, when another database's transaction ends
    just then; what was true of the first stays true.
    """
    return EventPosition(_ask_number(_NOW))


def has_been(position: EventPosition) -> bool:
    """Tell whether there can be such a position yet: if not, it is of another life."""
    return position.xid <= _ask_number(_NEXT)


def _ask_number(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row: tuple[str] = cursor.fetchone()
    return int(row[0])


def read_page(
    *,
    tenants: Collection[UUID],
    after: EventPosition,
    limit: int,
    job_id: UUID | None = None,
) -> Page:
    """Return the next events of the tenants, of one job if it is named."""
    # PostgreSQL reads in the order of the index only where one tenant is asked for.
    of = (
        "e.tenant_id = ANY(%(tenants)s)"
        if len(tenants) > 1
        else "e.tenant_id = %(one)s"
    )
    values: dict[str, Any] = {
        "tenants": list(tenants),
        "one": next(iter(tenants)),
        "job": job_id,
        "xid": str(after.xid),
        "id": after.event_id,
        "limit": limit,
    }
    if job_id:
        of += " AND e.job_id = %(job)s"
    with connection.cursor() as cursor:
        cursor.execute(_PAGE.format(of=of), values)
        rows = cursor.fetchall()
    found = [row[1:] for row in rows if row[1] is not None]
    is_full = len(found) == limit
    last = EventPosition(int(found[-1][0]), found[-1][1]) if is_full else None
    return Page(
        told=list(_read(found)),
        upto=last or max(after, EventPosition(int(rows[0][0]))),
        is_full=is_full,
    )


def _read(rows: Iterable[tuple[Any, ...]]) -> Iterator[StreamedEvent]:
    for xid, event_id, tenant_id, kind, job_id, batch_id, data, at in rows:
        if kind in TYPES:
            yield StreamedEvent(
                position=EventPosition(int(xid), event_id),
                tenant_id=tenant_id,
                type=kind,
                job_id=job_id,
                batch_id=batch_id,
                data=json.loads(data),
                at=at,
            )


def is_more_to_come(subject: Job | Batch, *, after: EventPosition) -> bool:
    """Tell whether a final job or batch has events after this, seen or still hidden."""
    with connection.cursor() as cursor:
        cursor.execute(
            _MORE_OF_BATCH if isinstance(subject, Batch) else _MORE_OF_JOB,
            [subject.pk, str(after.xid), after.event_id, list(TYPES)],
        )
        row: tuple[bool] = cursor.fetchone()
    return row[0]
