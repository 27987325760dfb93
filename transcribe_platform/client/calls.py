"""Requests and the rules for retrying them."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

Body = Callable[[], Iterable[bytes]]

# A request refused with these statuses had no effect.
_NO_EFFECT = frozenset({429, 503})
# After these statuses it is unknown whether the request had an effect.
_UNCERTAIN = frozenset({500, 502, 504})
_IN_FLIGHT = "request_in_flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request and its retry properties.

    ``is_repeatable``: idempotent (a GET, or with an Idempotency-Key).
    ``is_sent_once``: no retries; the caller retries. ``body`` returns the bytes for
    each attempt.
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
    """The retry policy: the number of attempts and the delays between them.

    ``sendings``: maximum attempts. ``knocks``: maximum attempts while the server has
    never responded, since its URL may be wrong. A ``Retry-After`` is obeyed, unless it
    exceeds ``longest_seconds``: then the error is raised.
    """

    sendings: int = 7
    knocks: int = 3
    first_seconds: float = 0.5
    longest_seconds: float = 60.0
    cap_seconds: float = 20.0

    def pause_after(
        self, sending: int, retry_after: float | None = None
    ) -> float | None:
        """Return the seconds to wait after this attempt, or None to give up."""
        if sending >= self.sendings:
            return None
        if retry_after is None:
            span = min(self.cap_seconds, self.first_seconds * 2 ** (sending - 1))
            # Jitter: clients do not retry at the same time.
            return random.uniform(span / 2, span)  # noqa: S311
        return retry_after if retry_after <= self.longest_seconds else None


def can_retry(call: ApiRequest, status: int, code: str) -> bool:
    """Return whether a response with this status and code can be retried."""
    if status in _NO_EFFECT or code == _IN_FLIGHT:
        return True
    return status in _UNCERTAIN and call.is_repeatable


def parse_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, in either form of RFC 9110."""
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # OverflowError: a year of 20 digits
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())
