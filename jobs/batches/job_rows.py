"""Insert a batch's jobs with one statement per slice, from JSON.

An unsaved template job supplies all columns that the jobs have in common, so that new
columns of the table are filled too.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.db import connection

from jobs.models import Job, new_id

# Columns that vary by job, with their types; the others come from the template.
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
    "warnings": "jsonb",
}


class JobRow(NamedTuple):
    """The varying columns of a job."""

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
    warnings: str

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return the row of a job."""
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
            warnings=json.dumps(job.warnings),
        )

    def dumps(self) -> str:
        """Return the row as a line of JSON."""
        return json.dumps(self)


def insert_rows(template: Job, rows: Sequence[str]) -> list[UUID]:
    """Insert a job for each JSON row, with the template's other columns; return ids.

    PostgreSQL parses the rows: Python would use five times the CPU, and block other
    requests meanwhile.
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
            index = JobRow._fields.index(field.name)
            placeholders.append(f"(v.fields ->> {index})::{_VARYING[field.name]}")
        else:
            placeholders.append(f"%s::{field.db_type(connection)}")
            value = field.pre_save(template, True)  # noqa: FBT003
            values.append(field.get_db_prep_save(value, connection))
    sql = (
        f"INSERT INTO jobs_job ({', '.join(columns)})"  # noqa: S608  names of columns
        f" SELECT {', '.join(placeholders)}"
        " FROM ROWS FROM (unnest(%s::uuid[]), jsonb_array_elements(%s::jsonb))"
        " AS v (id, fields)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, ids, f"[{','.join(rows)}]"])
    return ids
