"""Decide whether and when to retry a failed call to Deepgram.

Pure: randomness is passed in, and there is no clock. Exponential backoff with full
jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
Meaning of Deepgram's statuses: https://developers.deepgram.com/docs/errors
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from jobs.errors import UpstreamError


class Failure(StrEnum):
    """The class of a failure; every UpstreamError has one."""

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
class RetryRule:
    """The retry rule of a class of failure.

    ``tries`` limits the calls that end with the same error (0: only ``max_attempts``
    does); ``counts``: the call counts as one of the job's attempts.
    """

    retry: bool
    counts: bool = True
    tries: int = 0
    floor_seconds: float = 0


RULES: dict[Failure, RetryRule] = {
    # The platform's limiter was wrong, not the job.
    Failure.RATE_LIMITED: RetryRule(retry=True, counts=False, floor_seconds=1),
    Failure.UNAVAILABLE: RetryRule(retry=True),
    # No connection, so no cost; the circuit breaker limits the rate.
    Failure.UNREACHABLE: RetryRule(retry=True, counts=False, floor_seconds=1),
    Failure.TIMEOUT: RetryRule(retry=True),
    # 504: Deepgram's limit of ten minutes; one retry, then it fails with advice.
    Failure.TOO_LONG: RetryRule(retry=True, tries=2),
    # 401, 402, 403: an operator has to act; jobs wait without losing attempts.
    Failure.ACCOUNT: RetryRule(retry=True, counts=False, floor_seconds=60),
    Failure.SUSPECT_RESULT: RetryRule(retry=True, tries=2),
    Failure.REMOTE_AUDIO: RetryRule(retry=True, tries=3),
    Failure.BAD_MEDIA: RetryRule(retry=False),
    Failure.BAD_OPTIONS: RetryRule(retry=False),
    # The platform's storage failed, neither the job nor Deepgram.
    Failure.STORAGE: RetryRule(retry=True, counts=False, floor_seconds=5),
    Failure.PLATFORM: RetryRule(retry=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Retry in ``retry_in`` seconds; None: fail the job."""

    retry_in: float | None
    counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The n-th delay is uniform between 0 and min(cap, base * 2^(n-1)) seconds."""

    base_seconds: float
    cap_seconds: float


def next_try(
    error: UpstreamError,
    *,
    attempt: int,
    max_attempts: int,
    same_errors: int,
    curve: Curve,
    uniform: Callable[[float, float], float],
) -> Decision:
    """Decide what follows the failure of call number ``attempt``.

    ``same_errors`` counts the job's earlier calls that ended with the same error code.
    """
    rule = RULES[Failure(error.failure)]
    used = attempt if rule.counts else attempt - 1
    is_exhausted = used >= max_attempts or (
        rule.tries and same_errors + 1 >= rule.tries
    )
    if not rule.retry or is_exhausted:
        return Decision(retry_in=None, counts=rule.counts)
    ceiling = min(curve.cap_seconds, curve.base_seconds * 2.0 ** max(0, attempt - 1))
    delay = max(rule.floor_seconds, uniform(0, ceiling), error.retry_after or 0)
    return Decision(retry_in=delay, counts=rule.counts)
