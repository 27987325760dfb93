"""One request: what it is, and when and after how long it may be sent again."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

Body = Callable[[], Iterable[bytes]]

# What was refused with these has done nothing, whatever it was.
_REFUSED = frozenset({429, 503})
# With these nobody knows whether it was done.
_UNCERTAIN = frozenset({500, 502, 504})
_IN_FLIGHT = "request_in_flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request, as often as it has to be sent.

    ``is_repeatable``: sending it twice is as good as once (a GET, or an
    Idempotency-Key). ``is_sent_once``: the caller looks after repeats. ``body`` makes
    the bytes anew for each sending.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    body: Body | None = None
    is_repeatable: bool = True
    is_sent_once: bool = False
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a request is sent, and how long is waited in between.

    A ``Retry-After`` is waited for in full, but for one longer than
    ``longest_seconds``: then the error is the caller's to see. ``knocks``: how often a
    server is called that has never answered; its address may be wrong.
    """

    sendings: int = 7
    knocks: int = 3
    first_seconds: float = 0.5
    longest_seconds: float = 60.0
    cap_seconds: float = 20.0

    def pause_after(
        self, sending: int, retry_after: float | None = None
    ) -> float | None:
        """Return how long to wait after the n-th sending, or None to give up."""
        if sending >= self.sendings:
            return None
        if retry_after is None:
            span = min(self.cap_seconds, self.first_seconds * 2 ** (sending - 1))
            # Full jitter, so that many clients do not come back at once.
            return random.uniform(span / 2, span)  # noqa: S311
        return retry_after if retry_after <= self.longest_seconds else None


def may_be_sent_again(call: Call, status: int, code: str) -> bool:
    """Tell whether an answer with this status is worth another sending."""
    if status in _REFUSED or code == _IN_FLIGHT:
        return True
    return status in _UNCERTAIN and call.is_repeatable


def parse_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Return the seconds that the header names, in either of its forms."""
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for a year of twenty digits
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
