"""One JSON line per log record, with the context bound at the door.

Doors (HTTP middleware, Celery's task_prerun) bind ``job_id``, ``tenant_id`` or
``request_id`` once; code below logs a short fixed message and ``extra`` values.
"""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


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
            if key not in _STANDARD and not key.startswith("_")
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
