"""Read events in an order that never skips one, for event streams.

Events are ordered by the transaction that wrote them, and read only below the oldest
open transaction of this database (the *horizon*). A transaction that starts early and
commits late delays the events after it, so none is inserted behind a reader's position.
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

# The types that customers can follow; audit events are not among them.
BATCH_ENDED = "batch.completed"
JOB_ENDED = frozenset(f"job.{status}" for status in FINAL)
TYPES = (*(f"job.{status}" for status in JobStatus), "batch.progress", BATCH_ENDED)
# The public keys of a job event's data; none describes the audio.
_PUBLIC_KEYS = ("attempt", "region", "reason", "cause", "priority", "run_at", "error")
_ZERO = UUID(int=0)

# The oldest open transaction that can write to this database: one that is active in
# another database of the server is ignored.
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
# One statement has one snapshot, so the horizon belongs to the returned rows. The limit
# counts the rows read, not those that match a filter: the cost of a page is constant.
_PAGE = """
WITH horizon AS MATERIALIZED (HORIZON), page AS MATERIALIZED (
  SELECT e.xid, e.id, e.tenant_id, e.type, e.job_id, e.batch_id, e.data, e.created_at
  FROM jobs_event e
  WHERE {condition} AND (e.xid, e.id) > (%(xid)s::xid8, %(id)s::uuid)
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
    """A position in the order of events; all events up to it have been read."""

    xid: int
    event_id: UUID = _ZERO

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the result of ``str``; raises ValueError."""
        xid, _, event_id = text.partition("-")
        if not (xid.isascii() and xid.isdecimal() and len(xid) < len(str(2**64))):
            raise ValueError(text)
        return cls(int(xid), UUID(event_id))

    def __str__(self) -> str:
        return f"{self.xid}-{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilters:
    """The events of a tenant that a stream follows; an empty filter matches all."""

    tenant_id: UUID
    job_id: UUID | None = None
    batch_id: UUID | None = None
    types: frozenset[str] = frozenset()
    # The stream of a job or batch ends after an event of one of these types.
    ends_with: frozenset[str] = frozenset()

    def has(self, event: "StreamedEvent") -> bool:
        """Return whether the event matches."""
        return (
            event.tenant_id == self.tenant_id
            and self.job_id in {None, event.job_id}
            and self.batch_id in {None, event.batch_id}
            and (not self.types or event.type in self.types)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedEvent:
    """One event as customers receive it."""

    position: EventPosition
    tenant_id: UUID
    type: str
    job_id: UUID | None
    batch_id: UUID | None  # for a job event, the batch of the job
    data: dict[str, Any]
    at: datetime

    @property
    def status(self) -> str:
        """The status of the job or batch after the event."""
        if self.job_id:
            return self.type.removeprefix("job.")
        return str(self.data.get("status", ""))

    @property
    def shown(self) -> dict[str, Any]:
        """The data of the event without internal keys."""
        if not self.job_id:
            return self.data
        return {name: self.data[name] for name in _PUBLIC_KEYS if name in self.data}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events in order; all events up to ``position`` have been read."""

    events: list[StreamedEvent]
    position: EventPosition
    is_full: bool


def read_horizon() -> EventPosition:
    """Return the current horizon: no event will be added before it.

    A later call may return an earlier position, when a transaction of another database
    ends in between; the earlier answer stays true.
    """
    return EventPosition(_query_number(_NOW))


def was_issued(position: EventPosition) -> bool:
    """Return whether this database can have issued the position.

    A later position was issued before the database was restored from a backup.
    """
    return position.xid <= _query_number(_NEXT)


def _query_number(statement: str) -> int:
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
) -> EventPage:
    """Return the next events of the tenants, or of one of their jobs."""
    # PostgreSQL reads in index order only for a single tenant.
    condition = (
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
        condition += " AND e.job_id = %(job)s"
    with connection.cursor() as cursor:
        cursor.execute(_PAGE.format(condition=condition), values)
        rows = cursor.fetchall()
    found = [row[1:] for row in rows if row[1] is not None]
    is_full = len(found) == limit
    last = EventPosition(int(found[-1][0]), found[-1][1]) if is_full else None
    return EventPage(
        events=list(_parse(found)),
        position=last or max(after, EventPosition(int(rows[0][0]))),
        is_full=is_full,
    )


def _parse(rows: Iterable[tuple[Any, ...]]) -> Iterator[StreamedEvent]:
    for xid, event_id, tenant_id, type_, job_id, batch_id, data, at in rows:
        if type_ in TYPES:
            yield StreamedEvent(
                position=EventPosition(int(xid), event_id),
                tenant_id=tenant_id,
                type=type_,
                job_id=job_id,
                batch_id=batch_id,
                data=json.loads(data),
                at=at,
            )


def is_more_to_come(subject: Job | Batch, *, after: EventPosition) -> bool:
    """Return whether a final job or batch has more events, visible or not yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            _MORE_OF_BATCH if isinstance(subject, Batch) else _MORE_OF_JOB,
            [subject.pk, str(after.xid), after.event_id, list(TYPES)],
        )
        row: tuple[bool] = cursor.fetchone()
    return row[0]
