"""Deepgram's two limits per project: calls at once, and calls in a minute.

What is refused counts towards neither. The window slides over the last 60 s, so no
boundary lets twice the rate through.
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
    """What one project uses now, and the most it ever did."""

    in_flight: int = 0
    most_in_flight: int = 0
    most_in_window: int = 0
    granted: int = 0
    refused: int = 0
    window: collections.deque[float] = field(default_factory=collections.deque)

    def slide(self, now: float) -> None:
        """Forget what is older than the window."""
        horizon = now - WINDOW_SECONDS
        while self.window and self.window[0] <= horizon:
            self.window.popleft()

    def report(self, now: float) -> dict[str, Any]:
        """Return the figures for the statistics page."""
        self.slide(now)
        return {
            "in_flight": self.in_flight,
            "max_in_flight": self.most_in_flight,
            "in_window": len(self.window),
            "max_in_window": self.most_in_window,
            "granted": self.granted,
            "refused": self.refused,
        }


@dataclass(slots=True)
class Permit:
    """One place among the calls in flight."""

    usages: tuple[Usage, ...]

    def release(self) -> None:
        """Give the place back; a second time does nothing."""
        for usage in self.usages:
            usage.in_flight -= 1
        self.usages = ()


class Limiter:
    """Grant or refuse calls, project by project."""

    def __init__(self) -> None:
        self._projects: dict[str, Usage] = {}
        self._all = Usage()

    def take(self, project: str, *, tuning: config.Tuning, now: float) -> Permit:
        """Return a permit, or raise Refused with Deepgram's 429."""
        usage = self._projects.setdefault(project, Usage())
        usage.slide(now)
        is_full = _reached(usage.in_flight, tuning.concurrency)
        if is_full or _reached(len(usage.window), tuning.rate_per_minute):
            usage.refused += 1
            self._all.refused += 1
            raise refusals.Refused(_too_many(tuning.retry_after))
        self._all.slide(now)
        for each in (usage, self._all):
            each.granted += 1
            each.in_flight += 1
            each.most_in_flight = max(each.most_in_flight, each.in_flight)
            each.window.append(now)
            each.most_in_window = max(each.most_in_window, len(each.window))
        return Permit((usage, self._all))

    def report(self, now: float) -> dict[str, Any]:
        """Return the figures of all projects together, and of each."""
        each = {name: usage.report(now) for name, usage in self._projects.items()}
        return {**self._all.report(now), "projects": each}

    def reset_peaks(self) -> None:
        """Start the highest figures and counts anew; limits keep what they know."""
        for usage in (self._all, *self._projects.values()):
            usage.most_in_flight = usage.in_flight
            usage.most_in_window = len(usage.window)
            usage.granted = usage.refused = 0

    def forget_window(self) -> None:
        """Start the sliding windows empty; calls in flight still count."""
        for usage in (self._all, *self._projects.values()):
            usage.window.clear()


def _reached(count: int, limit: int | None) -> bool:
    return limit is not None and count >= limit


def _too_many(retry_after: float | None) -> refusals.Refusal:
    if retry_after is None:
        return refusals.TOO_MANY_REQUESTS
    return dataclasses.replace(
        refusals.TOO_MANY_REQUESTS, headers={"retry-after": f"{retry_after:g}"}
    )
