"""Settings: fixed at startup (`Config`) or changeable at runtime (`Tuning`)."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GIBIBYTE = 1024**3


class InvalidTuning(ValueError):
    """A setting is unknown or has an invalid value."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Settings that can be changed at runtime, named as on the command line.

    A limit of None is unlimited. The latency of a call is `latency_base`, plus
    `latency_per_second_of_audio`, plus a random part between minimum and maximum.
    """

    concurrency: int | None = None
    rate_per_minute: int | None = None
    retry_after: float | None = None
    latency_base: float = 0.0
    latency_per_second_of_audio: float = 0.0
    latency_min: float = 0.0
    latency_max: float = 0.0
    words: int | None = None
    stream_concurrency: int | None = None
    stream_idle_seconds: float = 10.0

    def for_streams(self, max_streams: int | None) -> "Tuning":
        """Return a copy for live streams: the lower of their limits, and no rate."""
        limits = (self.stream_concurrency, max_streams)
        bounds = [limit for limit in limits if limit is not None]
        return dataclasses.replace(
            self, concurrency=min(bounds, default=None), rate_per_minute=None
        )

    def changed(self, changes: Mapping[str, Any]) -> "Tuning":
        """Return a copy with these changes, or raise InvalidTuning."""
        names = {field.name for field in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in names:
                raise InvalidTuning(f"unknown setting {name!r}")
            _check_number(name, value)
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings that are fixed at startup."""

    host: str = "127.0.0.1"
    port: int = 8765
    engine: str = "canned"
    processes: int = min(4, os.cpu_count() or 1)
    tuning: Tuning = Tuning()
    keys: frozenset[str] | None = None
    projects: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seed: int = 0
    log_size: int = 200_000
    max_body_bytes: int = 2 * GIBIBYTE
    upload_timeout: float = 60.0
    fetch_timeout: float = 60.0
    fetch_cache_seconds: float = 0.0
    strict_urls: bool = False
    callback_retries: int = 10
    callback_interval: float = 30.0
    temporary_directory: Path = dataclasses.field(
        default_factory=lambda: Path(tempfile.gettempdir())
    )
    ready_file: Path | None = None


_WHOLE = frozenset({"concurrency", "rate_per_minute", "words", "stream_concurrency"})
_OPTIONAL = _WHOLE | {"retry_after"}


def _check_number(name: str, value: object) -> None:
    """Raise InvalidTuning unless the value is valid for this setting."""
    if value is None and name in _OPTIONAL:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTuning(f"{name} must be a number, not {value!r}")
    if name in _WHOLE and not isinstance(value, int):
        raise InvalidTuning(f"{name} must be a whole number, not {value!r}")
    if value < 0:
        raise InvalidTuning(f"{name} cannot be negative")
