"""Which way a request goes: answered at once, queued, or streamed. Pure.

An explicit mode wins; then the audio's length decides. The figures are Deepgram's
reference architecture's: https://developers.deepgram.com/docs/getting-started-with-pre-recorded-audio
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class RouteMode(StrEnum):
    """The ways there are."""

    SYNC = "sync"
    ASYNC = "async"
    STREAM = "stream"


class RouteReason(StrEnum):
    """Why a request goes its way."""

    ASKED = "asked"
    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"
    UNKNOWN = "unknown_length"


class DurationSource(StrEnum):
    """Who says how long the audio is."""

    REQUEST = "request"
    UPLOAD = "upload_probe"
    URL = "url_probe"
    NOBODY = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Shorter than the one is sync, longer than the other async; seconds of audio."""

    sync_below: float
    async_above: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What is known of a request; ``asked`` is its explicit mode, if it has one."""

    asked: RouteMode | None = None
    duration_seconds: float | None = None
    source: DurationSource = DurationSource.NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The decision, and what it was made on."""

    way: RouteMode
    reason: RouteReason
    facts: RequestFacts
    thresholds: Thresholds

    def describe(self) -> dict[str, Any]:
        """Return it as it is stored on the job; its region is the job's."""
        return {
            "mode": str(self.way),
            "reason": str(self.reason),
            "duration_seconds": self.facts.duration_seconds,
            "source": str(self.facts.source),
            "thresholds": {
                "sync_below_seconds": self.thresholds.sync_below,
                "async_above_seconds": self.thresholds.async_above,
            },
        }


def choose_route(facts: RequestFacts, thresholds: Thresholds) -> Route:
    """Return the way for these facts."""
    way, reason = _choose(facts, thresholds)
    return Route(way=way, reason=reason, facts=facts, thresholds=thresholds)


def _choose(
    facts: RequestFacts, thresholds: Thresholds
) -> tuple[RouteMode, RouteReason]:
    seconds = facts.duration_seconds
    if facts.asked:
        return facts.asked, RouteReason.ASKED
    if seconds is None:
        return RouteMode.SYNC, RouteReason.UNKNOWN
    if seconds < thresholds.sync_below:
        return RouteMode.SYNC, RouteReason.SHORT
    if seconds > thresholds.async_above:
        return RouteMode.ASYNC, RouteReason.LONG
    return RouteMode.SYNC, RouteReason.MEDIUM
