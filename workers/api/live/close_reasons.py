"""Reads the reasons for closing a session from ``close_reasons.toml``."""

import tomllib
from pathlib import Path
from typing import Any

from workers.api.live.wire_format import CloseReason

_TABLES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text()
)


def close_reason(name: str, *, error_code: str = "", **values: Any) -> CloseReason:
    """Return the reason of this name, with the values in its detail.

    ``error_code`` is for tables without one.
    """
    table = {"reason": name, "error_code": error_code, **_TABLES[name]}
    return CloseReason(**{**table, "detail": table.get("detail", "").format(**values)})
