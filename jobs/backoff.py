"""What follows a failed upstream call: when to try again, or that it is final.

Pure: the table, a clock-free decision, randomness passed in. Backoff is exponential
with full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture
Blog, 2015). Deepgram's statuses and their meaning: its API errors page.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from jobs.errors import UpstreamError


class Failure(StrEnum):
    """The classes of failure; every error of the backend names one."""

    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TOO_LONG = "too_long"
    ACCOUNT = "account"
    SUSPECT_RESULT = "suspect_result"
    REMOTE_AUDIO = "remote_audio"
    BAD_MEDIA = "bad_media"
    BAD_OPTIONS = "bad_options"
    STORAGE = "storage"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one class of failure is treated.

    ``tries`` bounds the calls that may end in this class (0: only ``max_attempts``
    does); ``counts`` says whether the call uses an attempt of the job up.
    """

    retry: bool
    counts: bool = True
    tries: int = 0
    floor_seconds: float = 0


RULES: dict[Failure, Rule] = {
    # Our own limiter was wrong: the job is not to blame.
    Failure.RATE_LIMITED: Rule(retry=True, counts=False, floor_seconds=1),
    Failure.UNAVAILABLE: Rule(retry=True),
    # No connection: nothing was asked, so nothing is spent; the breaker slows it.
    Failure.UNREACHABLE: Rule(retry=True, counts=False, floor_seconds=1),
    Failure.TIMEOUT: Rule(retry=True),
    # 504: ten minutes of processing were not enough; once more, then advice.
    Failure.TOO_LONG: Rule(retry=True, tries=2),
    # 401, 402, 403: a person has to act; jobs wait and lose nothing.
    Failure.ACCOUNT: Rule(retry=True, counts=False, floor_seconds=60),
    Failure.SUSPECT_RESULT: Rule(retry=True, tries=2),
    Failure.REMOTE_AUDIO: Rule(retry=True, tries=3),
    Failure.BAD_MEDIA: Rule(retry=False),
    Failure.BAD_OPTIONS: Rule(retry=False),
    # Ours cannot be read now: neither the job is to blame nor the upstream.
    Failure.STORAGE: Rule(retry=True, counts=False, floor_seconds=5),
    Failure.PLATFORM: Rule(retry=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do: wait ``retry_in`` seconds, or give up when it is None."""

    retry_in: float | None
    counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The exponential: the n-th wait is drawn from 0 to min(cap, base * 2^(n-1))."""

    base_seconds: float
    cap_seconds: float


def next_try(
    error: UpstreamError,
    *,
    attempt: int,
    max_attempts: int,
    alike: int,
    curve: Curve,
    uniform: Callable[[float, float], float],
) -> Decision:
    """Decide what follows the failure of call number ``attempt``.

    ``alike`` counts the earlier calls of the job that ended with the same error code.
    """
    rule = RULES[Failure(error.failure)]
    used = attempt if rule.counts else attempt - 1
    spent = used >= max_attempts or (rule.tries and alike + 1 >= rule.tries)
    if not rule.retry or spent:
        return Decision(retry_in=None, counts=rule.counts)
    ceiling = min(curve.cap_seconds, curve.base_seconds * 2.0 ** max(0, attempt - 1))
    wait = max(rule.floor_seconds, uniform(0, ceiling), error.retry_after or 0)
    return Decision(retry_in=wait, counts=rule.counts)
