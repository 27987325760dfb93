"""One trace from the request to the webhook, through whichever processes it takes.

Everything has a trace id, brought by its caller (W3C ``traceparent``) or made here; it
travels on the row. Spans are made only where ``settings.TRACER`` names who makes them:
this module knows no tracing library, and without one a span costs a function call.
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
# https://www.w3.org/TR/trace-context/: of a later version only what version 0 has.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})"
    r"-(?!0{32})(?P<trace_id>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span_id>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED = 0x01

Value = str | int | float | bool


class SpanRole(StrEnum):
    """Which side of a call a span is; values are OpenTelemetry's names."""

    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """A place in a trace; ``is_sampled`` says that somebody keeps its spans."""

    trace_id: str
    span_id: str
    is_sampled: bool = False

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"


class Span(Protocol):
    """A piece of work that is timed."""

    @property
    def context(self) -> TraceContext | None:
        """Where in which trace it is; what it calls goes on from there."""

    def set(self, **attributes: Value | None) -> None:
        """Say something about it; double underscores become dots."""

    def rename(self, name: str) -> None:
        """Give it the name that was not known when it began."""

    def fail(self, reason: str) -> None:
        """Say by a stable code that it failed."""

    def end(self) -> None:
        """End it."""


class Tracer(Protocol):
    """Whoever makes spans and sends them somewhere: ``settings.TRACER``."""

    def start(
        self,
        name: str,
        *,
        kind: SpanRole,
        parent: TraceContext | None,
        attributes: dict[str, Value],
    ) -> Span:
        """Begin a span; without a parent it begins a trace."""

    def flush(self) -> None:
        """Send what is not sent yet, and wait for that a moment."""


class _NoSpan:
    """A span that nobody makes."""

    context: TraceContext | None = None

    def set(self, **attributes: Value | None) -> None:
        pass

    def rename(self, name: str) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass

    def end(self) -> None:
        pass


_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)
_OFF: AbstractContextManager[Span] = nullcontext(_NoSpan())
_making = Lock()


def parse(traceparent: str) -> TraceContext | None:
    """Read a ``traceparent``; None for what is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return TraceContext(
        trace_id=found["trace_id"],
        span_id=found["span_id"],
        is_sampled=bool(int(found["flags"], 16) & _SAMPLED),
    )


def make() -> TraceContext:
    """Make the context of a trace that nobody keeps spans of."""
    ids = os.urandom(24).hex()
    return TraceContext(trace_id=ids[:32], span_id=ids[32:])


def current() -> TraceContext | None:
    """Return the trace that this thread or task works for."""
    return _current.get()


def current_traceparent() -> str:
    """Return what a new row is given: the trace it came to be in, or one of its own."""
    return str(current() or make())


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a stored ``traceparent``; a row may have none."""
    return traceparent[3:35]


def headers_of(context: TraceContext | None) -> dict[str, str]:
    """Return what tells a receiver of the trace: nothing, where nobody keeps it.

    A trace that is not sampled would switch the receiver's own tracing off.
    """
    sent = context is not None and context.is_sampled
    return {"traceparent": str(context)} if sent else {}


def enter(traceparent: str) -> None:
    """Work for this trace from now on, or for a new one: at a door without an end."""
    _current.set(parse(traceparent) or make())


@contextmanager
def within(context: TraceContext | None) -> Iterator[None]:
    """Work for this trace while the block runs."""
    before = _current.get()
    _current.set(context)
    try:
        yield
    finally:
        _current.set(before)


def joined(traceparent: str) -> AbstractContextManager[None]:
    """Work for a row's trace, unless that is being done: then more exactly so."""
    context, now = parse(traceparent), _current.get()
    if context is None or (now and now.trace_id == context.trace_id):
        return nullcontext()
    return within(context)


@contextmanager
def served(traceparent: str, name: str, **attributes: Value) -> Iterator[Span]:
    """Serve a request that may say which trace it belongs to."""
    tracer, parent = get_tracer(), parse(traceparent)
    if tracer is None:
        parent = parent or make()
    with within(parent), span(name, kind=SpanRole.SERVER, **attributes) as made:
        yield made


def span(
    name: str, *, kind: SpanRole = SpanRole.INTERNAL, **attributes: Value
) -> AbstractContextManager[Span]:
    """Time the block as a span of the trace that it works for.

    Attributes are told to whoever runs the collector: no URLs, no texts, no secrets.
    """
    tracer = get_tracer()
    return _OFF if tracer is None else _spanning(tracer, name, kind, attributes)


@contextmanager
def _spanning(
    tracer: Tracer, name: str, kind: SpanRole, attributes: dict[str, Value]
) -> Iterator[Span]:
    made = tracer.start(
        name, kind=kind, parent=_current.get(), attributes=_named(attributes)
    )
    with within(made.context):
        try:
            yield made
        except Exception as error:
            ours = error if isinstance(error, PlatformError) else None
            made.fail(ours.code if ours else type(error).__name__)
            raise
        finally:
            made.end()


def _named(attributes: dict[str, Any]) -> dict[str, Value]:
    return {
        name.replace("__", "."): value
        for name, value in attributes.items()
        if value is not None
    }


def check_endpoint(url: str) -> None:
    """Raise ValueError for what no spans can be sent to."""
    if url and urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError("it is an http or https URL, such as http://collector:4318")
    if url and find_spec("opentelemetry") is None:
        raise ValueError("tracing needs what requirements/tracing.txt lists")


def get_tracer() -> Tracer | None:
    """Return this process's, made at first use (after any fork); None: off."""
    if not settings.TRACER:
        return None
    with _making:
        return _make_tracer()


def flush() -> None:
    """Send the spans that wait: not every server lets Python say goodbye."""
    if tracer := get_tracer():
        tracer.flush()


@cache
def _make_tracer() -> Tracer:
    made: Tracer = import_string(settings.TRACER)()
    return made
