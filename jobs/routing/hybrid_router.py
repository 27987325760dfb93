"""Which way a request goes: answered at once, queued, or streamed. Pure.

An explicit mode wins; then the audio's length decides. The figures are Deepgram's
reference architecture's: https://developers.deepgram.com/docs/getting-started-with-pre-recorded-audio
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Way(StrEnum):
    """The ways there are."""

    SYNC = "sync"
    ASYNC = "async"
    STREAM = "stream"


class Reason(StrEnum):
    """Why a request goes its way."""

    ASKED = "asked"
    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"
    UNKNOWN = "unknown_length"


class Source(StrEnum):
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
class Facts:
    """What is known of a request; ``asked`` is its explicit mode, if it has one."""

    asked: Way | None = None
    duration_seconds: float | None = None
    source: Source = Source.NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The decision, and what it was made on."""

    way: Way
    reason: Reason
    facts: Facts
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


def choose_route(facts: Facts, thresholds: Thresholds) -> Route:
    """Return the way for these facts."""
    way, reason = _choose(facts, thresholds)
    return Route(way=way, reason=reason, facts=facts, thresholds=thresholds)


def _choose(facts: Facts, thresholds: Thresholds) -> tuple[Way, Reason]:
    seconds = facts.duration_seconds
    if facts.asked:
        return facts.asked, Reason.ASKED
    if seconds is None:
        return Way.SYNC, Reason.UNKNOWN
    if seconds < thresholds.sync_below:
        return Way.SYNC, Reason.SHORT
    if seconds > thresholds.async_above:
        return Way.ASYNC, Reason.LONG
    return Way.SYNC, Reason.MEDIUM
