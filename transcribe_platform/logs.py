"""One line per log record, as JSON or for people, with the context bound at the door.

Doors (HTTP middleware, Celery's task_prerun) bind ``job_id``, ``tenant_id`` or
``request_id`` once; code below logs a short fixed message and ``extra`` values.
What libraries log besides is cleaned of what customers and keys may have in it.
"""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime

from jobs.telemetry import log_context, tracing

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
# Django's request, its query string in it; Celery's, with exception and traceback.
_DROPPED = frozenset({"request", "data"})
# A URL or a path, to its end whatever it holds: what is tried from each of many places
# in a long path takes minutes, and paths are strangers' to choose.
_URL = re.compile(r"(://[^\s?#\"'<>]*)([?#][^\s\"'<>]*)?")
_QUERY = re.compile(r"(?<=\w)\?[^\s\"'<>]*")
# What PostgreSQL adds to an error: whole rows, and statements with their values. Then
# passwords in URLs, API keys, webhook secrets, Authorization headers.
_HIDDEN = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, replacement, flags in (
        (
            r"(DETAIL|CONTEXT|QUERY|LINE \d+):.*?(?=\n\n(?:The above|During)|\Z)",
            r"\1: …",
            re.DOTALL,
        ),
        (r"://[^\s/@\"']+@", "://…@", 0),
        (r"\b(tp_[a-z]+_[A-Za-z0-9]+)_[\w-]+", r"\1_…", 0),
        (r"\bwhsec_[\w+/=-]+", "whsec_…", 0),
        (r"\b(bearer|token|basic)\s+[\w.~+/=-]{16,}", r"\1 …", re.IGNORECASE),
    )
)


_PLAIN, _DIM = "\x1b[0m", "\x1b[2m"
_COLOURS = {
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}


class JsonFormatter(logging.Formatter):
    """Format a record, its ``extra`` and the bound context as one JSON object."""

    def __init__(self, *, service: str = "") -> None:
        super().__init__()
        self._service = {"service": service} if service else {}

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            **self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps({key: _clean(value) for key, value in line.items()})


class ConsoleFormatter(logging.Formatter):
    """Format a record for whoever looks at it: short, and in colour on a terminal."""

    def __init__(self, *, service: str, colour: bool | None = None) -> None:
        super().__init__()
        self._service = service
        is_terminal = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._is_coloured = is_terminal if colour is None else colour

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback if there is one."""
        at = datetime.fromtimestamp(record.created).astimezone()
        fields = {key: _clean(value) for key, value in _fields_of(record).items()}
        told = " ".join(f"{key}={value}" for key, value in fields.items())
        line = " ".join(
            (
                self._paint(at.strftime("%H:%M:%S.%f")[:-3], _DIM),
                self._paint(f"{record.levelname:<7}", _COLOURS.get(record.levelno, "")),
                hide_secrets(record.getMessage()),
                self._paint(f"{told} [{self._service} {record.name}]".strip(), _DIM),
            )
        )
        if record.exc_info:
            line += "\n" + hide_secrets(self.formatException(record.exc_info))
        return line

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._is_coloured and colour else text


def choose_format(wanted: str) -> str:
    """Return ``json`` or ``console``; ``auto`` asks whether a person is looking."""
    if wanted not in {"auto", "json", "console"}:
        raise ValueError("it is auto, json or console")
    if wanted == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return wanted


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what was bound at the door, and over it what the line says itself."""
    trace = tracing.current()
    of_trace = {"trace_id": trace.trace_id} if trace else {}
    own = {
        key: value
        for key, value in vars(record).items()
        if key not in _STANDARD | _DROPPED and not key.startswith("_")
    }
    return {**log_context.read(), **of_trace, **own}


def hide_secrets(text: str) -> str:
    """Return the text without what a log may not hold, wherever a library put it."""
    text = _URL.sub(lambda found: found[1] + ("?…" if found[2] else ""), text)
    text = _QUERY.sub(lambda found: "?…" if "=" in found[0] else found[0], text)
    for pattern, replacement in _HIDDEN:
        text = pattern.sub(replacement, text)
    return text


def _clean(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return hide_secrets(str(value))
