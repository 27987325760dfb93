"""Deepgram's two limits per project: concurrent calls, and calls per minute.

Refused calls count towards neither. The window slides over the last 60 s, so bursts
at a boundary cannot double the rate.
"""

import collections
import dataclasses
from dataclasses import dataclass, field
from typing import Any

from workers.emulator import config
from workers.emulator.protocol import refusals

WINDOW_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class Usage:
    """Current and peak usage of one project."""

    in_flight: int = 0
    max_in_flight: int = 0
    max_in_window: int = 0
    granted: int = 0
    refused: int = 0
    window: collections.deque[float] = field(default_factory=collections.deque)

    def slide(self, now: float) -> None:
        """Drop calls that are older than the window."""
        horizon = now - WINDOW_SECONDS
        while self.window and self.window[0] <= horizon:
            self.window.popleft()

    def report(self, now: float) -> dict[str, Any]:
        """Return the usage for the statistics."""
        self.slide(now)
        return {
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "in_window": len(self.window),
            "max_in_window": self.max_in_window,
            "granted": self.granted,
            "refused": self.refused,
        }


@dataclass(slots=True)
class Permit:
    """Permission for one call in flight."""

    usages: tuple[Usage, ...]

    def release(self) -> None:
        """End the call; idempotent."""
        for usage in self.usages:
            usage.in_flight -= 1
        self.usages = ()


class Limiter:
    """Grants or refuses calls per project."""

    def __init__(self) -> None:
        self._projects: dict[str, Usage] = {}
        self._all = Usage()

    def acquire(self, project: str, *, tuning: config.Tuning, now: float) -> Permit:
        """Return a permit, or raise Refused with Deepgram's 429."""
        usage = self._projects.setdefault(project, Usage())
        usage.slide(now)
        is_full = _is_reached(usage.in_flight, tuning.concurrency)
        if is_full or _is_reached(len(usage.window), tuning.rate_per_minute):
            usage.refused += 1
            self._all.refused += 1
            raise refusals.Refused(_build_refusal(tuning.retry_after))
        self._all.slide(now)
        for counted in (usage, self._all):
            counted.granted += 1
            counted.in_flight += 1
            counted.max_in_flight = max(counted.max_in_flight, counted.in_flight)
            counted.window.append(now)
            counted.max_in_window = max(counted.max_in_window, len(counted.window))
        return Permit((usage, self._all))

    def report(self, now: float) -> dict[str, Any]:
        """Return the usage of all projects together, and of each project."""
        projects = {name: usage.report(now) for name, usage in self._projects.items()}
        return {**self._all.report(now), "projects": projects}

    def reset_peaks(self) -> None:
        """Reset peaks and counts; calls in flight and the window stay."""
        for usage in (self._all, *self._projects.values()):
            usage.max_in_flight = usage.in_flight
            usage.max_in_window = len(usage.window)
            usage.granted = usage.refused = 0

    def clear_windows(self) -> None:
        """Empty the sliding windows; calls in flight still count."""
        for usage in (self._all, *self._projects.values()):
            usage.window.clear()


def _is_reached(count: int, limit: int | None) -> bool:
    return limit is not None and count >= limit


def _build_refusal(retry_after: float | None) -> refusals.Refusal:
    if retry_after is None:
        return refusals.TOO_MANY_REQUESTS
    return dataclasses.replace(
        refusals.TOO_MANY_REQUESTS, headers={"retry-after": f"{retry_after:g}"}
    )
