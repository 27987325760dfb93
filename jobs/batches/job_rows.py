"""Write a batch's jobs many at a time: one statement a slice, which reads their JSON.

What all of a batch have in common is said once, by a job that is not written itself, so
that a column that is added to the table is filled here as well.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.db import connection

from jobs.models import Job, new_id

# What they are read as; the rest of a row is the same for all.
_VARYING = {
    "audio_url": "text",
    "custom_id": "text",
    "line": "integer",
    "options": "jsonb",
    "metadata": "jsonb",
    "retention": "jsonb",
    "callback_url": "text",
    "priority": "smallint",
    "lane": "text",
    "max_attempts": "smallint",
    "expires_at": "timestamptz",
}


class JobRow(NamedTuple):
    """What a job of a batch has to itself, in the order of the columns."""

    audio_url: str
    custom_id: str
    line: int | None
    options: str
    metadata: str
    retention: str
    callback_url: str
    priority: int
    lane: str
    max_attempts: int
    expires_at: str | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return what of the job differs from the others."""
        return cls(
            audio_url=job.audio_url,
            custom_id=job.custom_id,
            line=job.line,
            options=json.dumps(job.options),
            metadata=json.dumps(job.metadata),
            retention=json.dumps(job.retention),
            callback_url=job.callback_url,
            priority=int(job.priority),
            lane=job.lane,
            max_attempts=job.max_attempts,
            expires_at=job.expires_at.isoformat() if job.expires_at else None,
        )

    def dumps(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps(self)


def insert_rows(common: Job, rows: Sequence[str]) -> list[UUID]:
    """Write a job for each dumped row, like ``common`` in all else; return their ids.

    PostgreSQL takes the rows apart: Python would spend five times as much CPU on that,
    and others would wait for the interpreter meanwhile.
    """
    ids = [new_id() for _ in rows]
    columns: list[str] = []
    placeholders: list[str] = []
    values: list[Any] = []
    for field in Job._meta.concrete_fields:  # noqa: SLF001  Django's documented API
        columns.append(str(field.column))
        if field.name == "id":
            placeholders.append("v.id")
        elif field.name in _VARYING:
            place = JobRow._fields.index(field.name)
            placeholders.append(f"(v.said ->> {place})::{_VARYING[field.name]}")
        else:
            placeholders.append(f"%s::{field.db_type(connection)}")
            value = field.pre_save(common, True)  # noqa: FBT003
            values.append(field.get_db_prep_save(value, connection))
    sql = (
        f"INSERT INTO jobs_job ({', '.join(columns)})"  # noqa: S608  names of columns
        f" SELECT {', '.join(placeholders)}"
        " FROM ROWS FROM (unnest(%s::uuid[]), jsonb_array_elements(%s::jsonb))"
        " AS v (id, said)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, ids, f"[{','.join(rows)}]"])
    return ids
