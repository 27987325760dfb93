"""Decide the next step after an attempt: delivered, retry or give up. Pure.

Delays count from the previous attempt, as in the example schedule of Standard Webhooks
1.0.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from workers.webhooks.models import WebhookDelivery

Status = WebhookDelivery.Status

JITTER = 0.2
TIMED_OUT = "timeout"
THROTTLED_STATUSES = frozenset({429, 502, 503, 504})
GONE = 410
RETRY_AFTER_CAP_SECONDS = 3600.0
# An endpoint without a success for this long and this many attempts is disabled.
FAILING_TIME = timedelta(days=5)
FAILING_ATTEMPTS = 10
# Consecutive failures that open an endpoint's circuit.
CIRCUIT_FAILURES = 10
TRIAL_WAIT_SECONDS = 60
TRIAL_WAIT_CAP_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class PostResult:
    """The result of one POST: a status code, or an error code."""

    status_code: int | None = None
    error: str = ""
    # The response headers Retry-After and webhook-delivery.
    retry_after: str = ""
    instruction: str = ""
    excerpt: str = ""
    duration_ms: int = 0

    @property
    def is_success(self) -> bool:
        """Whether the receiver accepted the message with any 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300  # noqa: PLR2004


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """The retry delays in seconds, from the settings."""

    delays: Sequence[float]
    throttled_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """The delivery's next status; ``delay`` (seconds) is set only if it is pending."""

    status: WebhookDelivery.Status
    delay: float | None = None
    # Why the endpoint is disabled; "" if it is not.
    disable: str = ""


def next_step(
    result: PostResult,
    *,
    attempts: int,
    plan: RetrySchedule,
    draw: float,
    now: datetime,
) -> NextStep:
    """Decide what follows the result of the ``attempts``-th attempt.

    ``draw`` is a random number from 0 to 1; ``now`` resolves a Retry-After date.
    """
    instruction = result.instruction.strip().lower()
    disable = ""
    if result.status_code == GONE:
        disable = "gone"
    elif instruction == "disable":
        disable = "asked_by_receiver"
    if result.is_success:
        return NextStep(status=Status.DELIVERED, disable=disable)
    if disable or instruction == "abort-message":
        return NextStep(status=Status.DISCARDED, disable=disable)
    if attempts > len(plan.delays):
        return NextStep(status=Status.FAILED)
    delay = choose_delay(result, attempts=attempts, plan=plan, draw=draw, now=now)
    return NextStep(status=Status.PENDING, delay=delay)


def choose_delay(
    result: PostResult,
    *,
    attempts: int,
    plan: RetrySchedule,
    draw: float,
    now: datetime,
) -> float:
    """Return the seconds until the next attempt.

    Retry-After may only lengthen the delay, up to twice the delay or one hour.
    """
    delay = plan.delays[attempts - 1] * (1 - JITTER + 2 * JITTER * draw)
    if result.error == TIMED_OUT or result.status_code in THROTTLED_STATUSES:
        delay = max(delay, plan.throttled_seconds)
    retry_after = parse_retry_after(result.retry_after, now=now)
    if retry_after is None:
        return delay
    return min(max(retry_after, delay), max(2 * delay, RETRY_AFTER_CAP_SECONDS))


def parse_retry_after(value: str, *, now: datetime) -> float | None:
    """Return the seconds of a Retry-After value, in seconds or as a date."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for seconds of twenty digits
        return None
    # "-0000" parses without a zone; HTTP dates are always GMT.
    return (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()


def next_trial_wait(last: int) -> int:
    """Return the seconds until an open circuit's next trial: twice the last wait.

    At least TRIAL_WAIT_SECONDS, at most TRIAL_WAIT_CAP_SECONDS.
    """
    return min(max(2 * last, TRIAL_WAIT_SECONDS), TRIAL_WAIT_CAP_SECONDS)


def has_failed_too_long(
    *, failures: int, failing_since: datetime | None, now: datetime
) -> bool:
    """Return whether an endpoint failed long and often enough to be disabled."""
    return (
        failing_since is not None
        and failures >= FAILING_ATTEMPTS
        and now - failing_since >= FAILING_TIME
    )
