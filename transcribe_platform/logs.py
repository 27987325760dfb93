"""One JSON line per log record, with the context bound at the door.

Doors (HTTP middleware, Celery's task_prerun) bind ``job_id``, ``tenant_id`` or
``request_id`` once; code below logs a short fixed message and ``extra`` values.
What libraries log besides is cleaned of what customers and keys may have in it.
"""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime

_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)
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


def bind_log_context(**values: str) -> None:
    """Replace the context that every later record of this thread or task carries."""
    _context.set(values)


class JsonFormatter(logging.Formatter):
    """Format a record, its ``extra`` and the bound context as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **(_context.get() or {}),
        }
        line |= {
            key: value
            for key, value in vars(record).items()
            if key not in _STANDARD | _DROPPED and not key.startswith("_")
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps({key: _clean(value) for key, value in line.items()})


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
