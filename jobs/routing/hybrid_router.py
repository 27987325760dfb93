"""Choose a request's mode: synchronous, queued or streamed. Pure.

An explicit mode wins; otherwise the audio's duration decides. The default thresholds
are those of Deepgram's reference architecture:
https://developers.deepgram.com/docs/getting-started-with-pre-recorded-audio
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class RouteMode(StrEnum):
    """How a request is processed."""

    SYNC = "sync"
    ASYNC = "async"
    STREAM = "stream"


class RouteReason(StrEnum):
    """Why a mode was chosen."""

    EXPLICIT = "asked"
    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"
    UNKNOWN = "unknown_length"


class DurationSource(StrEnum):
    """Where the audio's duration comes from."""

    REQUEST = "request"
    UPLOAD = "upload_probe"
    URL = "url_probe"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits in seconds of audio."""

    sync_below: float
    async_above: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """The inputs of the decision; ``mode`` is the explicit one, if any."""

    mode: RouteMode | None = None
    duration_seconds: float | None = None
    source: DurationSource = DurationSource.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The mode chosen for a request, why, and the facts and thresholds used."""

    mode: RouteMode
    reason: RouteReason
    facts: RequestFacts
    thresholds: Thresholds

    def describe(self) -> dict[str, Any]:
        """Return the value of ``Job.route``."""
        return {
            "mode": str(self.mode),
            "reason": str(self.reason),
            "duration_seconds": self.facts.duration_seconds,
            "source": str(self.facts.source),
            "thresholds": {
                "sync_below_seconds": self.thresholds.sync_below,
                "async_above_seconds": self.thresholds.async_above,
            },
        }


def choose_route(facts: RequestFacts, thresholds: Thresholds) -> Route:
    """Choose the mode for these facts."""
    mode, reason = _choose(facts, thresholds)
    return Route(mode=mode, reason=reason, facts=facts, thresholds=thresholds)


def _choose(
    facts: RequestFacts, thresholds: Thresholds
) -> tuple[RouteMode, RouteReason]:
    seconds = facts.duration_seconds
    if facts.mode:
        return facts.mode, RouteReason.EXPLICIT
    if seconds is None:
        return RouteMode.SYNC, RouteReason.UNKNOWN
    if seconds < thresholds.sync_below:
        return RouteMode.SYNC, RouteReason.SHORT
    if seconds > thresholds.async_above:
        return RouteMode.ASYNC, RouteReason.LONG
    return RouteMode.SYNC, RouteReason.MEDIUM
