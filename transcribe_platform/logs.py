"""Format log records as one line each, in JSON or for a terminal.

The HTTP middleware and Celery's ``task_prerun`` bind ``job_id``, ``tenant_id`` or
``request_id`` to all lines. Log calls use a fixed message and ``extra`` values. Secrets
and customer data are removed from all text, also from that of libraries.
"""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime

from jobs.telemetry import log_context, tracing

# Of every record; then Django's request, with its query string, and Celery's data, with
# exception and traceback.
_OMITTED = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "taskName"),
    *("request", "data"),
}
# Ids, names and codes: nothing that a pattern below could match.
_HARMLESS = re.compile(r"[A-Za-z0-9.+-]{0,64}")
# Each match extends to the end of the URL or path, so that the search stays linear:
# clients choose paths, and a quadratic search of a long one takes minutes.
_URL = re.compile(r"(://[^\s?#\"'<>]*)([?#][^\s\"'<>]*)?")
_QUERY = re.compile(r"(?<=\w)\?[^\s\"'<>]*")
# PostgreSQL's error details, which contain rows and statements with values. Then
# passwords in URLs, API keys, webhook secrets and Authorization headers.
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
_COLORS = {
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
    """Format a record for people: short, and in color on a terminal."""

    def __init__(self, *, service: str, color: bool | None = None) -> None:
        super().__init__()
        self._service = service
        is_terminal = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._is_colored = is_terminal if color is None else color

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback if there is one."""
        at = datetime.fromtimestamp(record.created).astimezone()
        fields = {key: _clean(value) for key, value in _fields_of(record).items()}
        extra = " ".join(f"{key}={value}" for key, value in fields.items())
        line = " ".join(
            (
                self._paint(at.strftime("%H:%M:%S.%f")[:-3], _DIM),
                self._paint(f"{record.levelname:<7}", _COLORS.get(record.levelno, "")),
                hide_secrets(record.getMessage()),
                self._paint(f"{extra} [{self._service} {record.name}]".strip(), _DIM),
            )
        )
        if record.exc_info:
            line += "\n" + hide_secrets(self.formatException(record.exc_info))
        return line

    def _paint(self, text: str, color: str) -> str:
        return f"{color}{text}{_PLAIN}" if self._is_colored and color else text


def choose_format(name: str) -> str:
    """Return ``json`` or ``console``; ``auto`` is ``console`` on a terminal."""
    if name not in {"auto", "json", "console"}:
        raise ValueError("the value must be auto, json or console")
    if name == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return name


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the bound fields, the trace and the ``extra`` values of the record."""
    trace = tracing.current()
    trace_fields = {"trace_id": trace.trace_id} if trace else {}
    extra = {
        key: value
        for key, value in vars(record).items()
        if key not in _OMITTED and not key.startswith("_")
    }
    return {**log_context.read(), **trace_fields, **extra}


def hide_secrets(text: str) -> str:
    """Return the text with secrets, query strings and database values replaced."""
    text = _URL.sub(lambda match: match[1] + ("?…" if match[2] else ""), text)
    text = _QUERY.sub(lambda match: "?…" if "=" in match[0] else match[0], text)
    for pattern, replacement in _HIDDEN:
        text = pattern.sub(replacement, text)
    return text


def _clean(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if _HARMLESS.fullmatch(text) else hide_secrets(text)
