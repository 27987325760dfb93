"""One trace from the request to the webhook, across all processes.

Every job has a trace id, from its caller (W3C ``traceparent``) or generated here; it is
stored on the row. Spans exist only if ``settings.TRACER`` names a class for them: this
module imports no tracing library, and without one a span costs a function call.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from threading import Lock
from typing import Any, Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.module_loading import import_string

from jobs.errors import PlatformError

MAX_LENGTH = 55
# https://www.w3.org/TR/trace-context/; of later versions only the fields of version 0.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})"
    r"-(?!0{32})(?P<trace_id>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span_id>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED = 0x01

Value = str | int | float | bool


class SpanRole(StrEnum):
    """The kind of a span; values are OpenTelemetry's names."""

    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """A span's position in a trace; ``is_sampled``: its spans are exported."""

    trace_id: str
    span_id: str
    is_sampled: bool = False

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"


class Span:
    """A timed operation; this class does nothing, for processes without a tracer."""

    # The parent context of spans started inside this one.
    context: TraceContext | None = None

    def set(self, **attributes: Value | None) -> None:
        """Set attributes; double underscores in names become dots."""

    def rename(self, name: str) -> None:
        """Set the name, if it was unknown at the start."""

    def fail(self, reason: str) -> None:
        """Mark the span as failed, with a stable code."""

    def end(self) -> None:
        """End the span."""


class Tracer(Protocol):
    """Creates and exports spans: the interface of ``settings.TRACER``."""

    def start(
        self,
        name: str,
        *,
        kind: SpanRole,
        parent: TraceContext | None,
        attributes: dict[str, Value],
    ) -> Span:
        """Start a span; without a parent it starts a new trace."""

    def flush(self) -> None:
        """Export pending spans; blocks for a short time."""


_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)
_OFF: AbstractContextManager[Span] = nullcontext(Span())
_lock = Lock()


def parse(traceparent: str) -> TraceContext | None:
    """Parse a ``traceparent``; return None if it is invalid."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (match["version"] == "00" and match["more"]):
        return None
    return TraceContext(
        trace_id=match["trace_id"],
        span_id=match["span_id"],
        is_sampled=bool(int(match["flags"], 16) & _SAMPLED),
    )


def build_context() -> TraceContext:
    """Return a new context that is not sampled."""
    ids = os.urandom(24).hex()
    return TraceContext(trace_id=ids[:32], span_id=ids[32:])


def current() -> TraceContext | None:
    """Return the trace context of this thread or task."""
    return _current.get()


def current_traceparent() -> str:
    """Return the ``traceparent`` of a new row: the current one, or a new one."""
    return str(current() or build_context())


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a stored ``traceparent``; "" without one."""
    return traceparent[3:35]


def headers_of(context: TraceContext | None) -> dict[str, str]:
    """Return the HTTP headers that propagate the trace: none unless it is sampled.

    The header of an unsampled trace would switch the receiver's own tracing off.
    """
    is_sampled = context is not None and context.is_sampled
    return {"traceparent": str(context)} if is_sampled else {}


def enter(traceparent: str) -> None:
    """Make this the current trace; start a new one if it is invalid."""
    _current.set(parse(traceparent) or build_context())


@contextmanager
def within(context: TraceContext | None) -> Iterator[None]:
    """Use this trace while the block runs."""
    before = _current.get()
    _current.set(context)
    try:
        yield
    finally:
        _current.set(before)


def joined(traceparent: str) -> AbstractContextManager[None]:
    """Use a row's trace in the block, unless a span of it is current already."""
    context, current = parse(traceparent), _current.get()
    if context is None or (current and current.trace_id == context.trace_id):
        return nullcontext()
    return within(context)


@contextmanager
def served(traceparent: str, name: str, **attributes: Value) -> Iterator[Span]:
    """Run the block in a server span, a child of the request's trace if it has one."""
    tracer, parent = get_tracer(), parse(traceparent)
    if tracer is None:
        parent = parent or build_context()
    with within(parent), span(name, kind=SpanRole.SERVER, **attributes) as started:
        yield started


def span(
    name: str, *, kind: SpanRole = SpanRole.INTERNAL, **attributes: Value
) -> AbstractContextManager[Span]:
    """Run the block in a span of the current trace.

    The collector receives the attributes: no URLs, no texts, no secrets.
    """
    tracer = get_tracer()
    return _OFF if tracer is None else _run_span(tracer, name, kind, attributes)


@contextmanager
def _run_span(
    tracer: Tracer, name: str, kind: SpanRole, attributes: dict[str, Value]
) -> Iterator[Span]:
    started = tracer.start(
        name,
        kind=kind,
        parent=_current.get(),
        attributes=_format_attributes(attributes),
    )
    with within(started.context):
        try:
            yield started
        except Exception as error:
            started.fail(
                error.code if isinstance(error, PlatformError) else type(error).__name__
            )
            raise
        finally:
            started.end()


def _format_attributes(attributes: dict[str, Any]) -> dict[str, Value]:
    return {
        name.replace("__", "."): value
        for name, value in attributes.items()
        if value is not None
    }


def check_endpoint(url: str) -> None:
    """Raise ValueError if spans cannot be exported to this URL."""
    if url and urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError("use an http or https URL, such as http://collector:4318")
    if url and find_spec("opentelemetry") is None:
        raise ValueError("tracing needs the packages of requirements/tracing.txt")


def get_tracer() -> Tracer | None:
    """Return the process's tracer, created at first use (after any fork), or None."""
    if not settings.TRACER:
        return None
    with _lock:
        return _build_tracer()


def flush() -> None:
    """Export pending spans; called at exit, as some servers skip ``atexit``."""
    if tracer := get_tracer():
        tracer.flush()


@cache
def _build_tracer() -> Tracer:
    tracer: Tracer = import_string(settings.TRACER)()
    return tracer
