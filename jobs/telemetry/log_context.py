"""What every log line of a piece of work carries: bound at its door, once.

``transcribe_platform.logs`` writes it; the trace is ``jobs.telemetry.tracing``'s.
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
    """Replace what every later record of this thread or task carries."""
    _bound.set(values)


def add(**values: object) -> None:
    """Add to what later records carry."""
    _bound.set({**read(), **values})


@contextmanager
def adding(**values: object) -> Iterator[None]:
    """Add to what records carry while the block runs."""
    before = _bound.get()
    add(**values)
    try:
        yield
    finally:
        _bound.set(before)


def read() -> Mapping[str, object]:
    """Return what is bound."""
    return _bound.get() or {}


def fields_of(job: "Job") -> dict[str, object]:
    """Return by what a line about a job is found, whoever writes it."""
    return {
        "job_id": job.pk,
        "tenant_id": job.tenant_id,
        "trace_id": tracing.trace_id_of(job.traceparent),
    }
