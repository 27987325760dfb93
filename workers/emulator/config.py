"""What can be set: once at the start (`Config`), or while it runs (`Tuning`)."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GIBIBYTE = 1024**3


class InvalidTuning(ValueError):
    """The settings sent to a running emulator do not make sense."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Hold what a test or an operator may change while the emulator runs.

    The names are those of the command line. A limit of None is no limit. The latency
    of a call is the base, plus the share of its audio, plus a draw between minimum
    and maximum.
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

    def for_streams(self, most: int | None) -> "Tuning":
        """Return a copy whose limits are those of live streams, and the engine's."""
        bounds = [each for each in (self.stream_concurrency, most) if each is not None]
        return dataclasses.replace(
            self, concurrency=min(bounds, default=None), rate_per_minute=None
        )

    def changed(self, settings: Mapping[str, Any]) -> "Tuning":
        """Return a copy with these settings, or raise InvalidTuning."""
        names = {field.name for field in dataclasses.fields(self)}
        for name, value in settings.items():
            if name not in names:
                raise InvalidTuning(f"unknown setting {name!r}")
            _check_number(name, value)
        return dataclasses.replace(self, **settings)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Hold what is fixed for the life of the process."""

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
    """Refuse what is no sensible number for this setting."""
    if value is None and name in _OPTIONAL:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTuning(f"{name} takes a number, not {value!r}")
    if name in _WHOLE and not isinstance(value, int):
        raise InvalidTuning(f"{name} takes a whole number, not {value!r}")
    if value < 0:
        raise InvalidTuning(f"{name} cannot be negative")
