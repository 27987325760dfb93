"""Fields that every log record of a request or task carries, set once at its start.

``transcribe_platform.logs`` writes them, with the trace id of ``telemetry.tracing``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from jobs.telemetry import tracing

if TYPE_CHECKING:  # logging is set up before there are models
    from jobs.models import Job

_bound: ContextVar[Mapping[str, object] | None] = ContextVar(
    "log_context", default=None
)


def bind(**values: object) -> None:
    """Replace the fields of all later records of this thread or task."""
    _bound.set(values)


def add(**values: object) -> None:
    """Add fields to later records."""
    _bound.set({**read(), **values})


@contextmanager
def adding(**values: object) -> Iterator[None]:
    """Add fields to the records of the block."""
    before = _bound.get()
    add(**values)
    try:
        yield
    finally:
        _bound.set(before)


def read() -> Mapping[str, object]:
    """Return the current fields."""
    return _bound.get() or {}


def fields_of(job: "Job") -> dict[str, object]:
    """Return the fields that identify a job in every log record about it."""
    return {
        "job_id": job.pk,
        "tenant_id": job.tenant_id,
        "trace_id": tracing.trace_id_of(job.traceparent),
    }
