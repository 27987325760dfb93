"""What follows from an answer: done, again later, or given up. Pure.

Delays count from the attempt before, as in Standard Webhooks 1.0.0's example schedule.
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
# An endpoint that never answered well in all this time is switched off.
FAILING_TIME = timedelta(days=5)
FAILING_ATTEMPTS = 10
# So many failures in a row open an endpoint's circuit.
CIRCUIT_FAILURES = 10
TRIAL_WAIT_SECONDS = 60
TRIAL_WAIT_CAP_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class PostResult:
    """What came of one POST: a status, or the class of what went wrong."""

    status_code: int | None = None
    error: str = ""
    # The receiver's wishes: the headers Retry-After and webhook-delivery.
    retry_after: str = ""
    instruction: str = ""
    excerpt: str = ""
    duration_ms: int = 0

    @property
    def is_success(self) -> bool:
        """Whether the receiver took the message: any 2xx, and nothing else."""
        return self.status_code is not None and 200 <= self.status_code < 300  # noqa: PLR2004


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """When to try, by the operator's settings."""

    delays: Sequence[float]
    throttled_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """Where the delivery goes; ``delay`` is set exactly when it stays pending."""

    status: WebhookDelivery.Status
    delay: float | None = None
    # Why the endpoint is switched off, if it is.
    disable: str = ""


def next_step(
    answer: PostResult,
    *,
    attempts: int,
    plan: RetrySchedule,
    draw: float,
    now: datetime,
) -> NextStep:
    """Decide what follows the answer to the ``attempts``-th attempt.

    ``draw`` is a random number from 0 to 1; ``now`` only reads a Retry-After date.
    """
    instruction = answer.instruction.strip().lower()
    disable = ""
    if answer.status_code == GONE:
        disable = "gone"
    elif instruction == "disable":
        disable = "asked_by_receiver"
    if answer.is_success:
        return NextStep(status=Status.DELIVERED, disable=disable)
    if disable or instruction == "abort-message":
        return NextStep(status=Status.DISCARDED, disable=disable)
    if attempts > len(plan.delays):
        return NextStep(status=Status.FAILED)
    delay = choose_delay(answer, attempts=attempts, plan=plan, draw=draw, now=now)
    return NextStep(status=Status.PENDING, delay=delay)


def choose_delay(
    answer: PostResult,
    *,
    attempts: int,
    plan: RetrySchedule,
    draw: float,
    now: datetime,
) -> float:
    """Return the seconds until the next attempt.

    Retry-After may lengthen the wait, to twice the delay or an hour, never shorten it.
    """
    delay = plan.delays[attempts - 1] * (1 - JITTER + 2 * JITTER * draw)
    if answer.error == TIMED_OUT or answer.status_code in THROTTLED_STATUSES:
        delay = max(delay, plan.throttled_seconds)
    asked = parse_retry_after(answer.retry_after, now=now)
    if asked is None:
        return delay
    return min(max(asked, delay), max(2 * delay, RETRY_AFTER_CAP_SECONDS))


def parse_retry_after(value: str, *, now: datetime) -> float | None:
    """Return the seconds a Retry-After asks for, given in seconds or as a date."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for a second of twenty digits
        return None
    # "-0000" parses without a zone; HTTP dates are GMT whatever they say.
    return (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()


def next_trial_wait(last: int) -> int:
    """Return the seconds until an open circuit's next trial: twice the last wait."""
    return min(max(2 * last, TRIAL_WAIT_SECONDS), TRIAL_WAIT_CAP_SECONDS)


def has_failed_too_long(
    *, failures: int, failing_since: datetime | None, now: datetime
) -> bool:
    """Tell whether an endpoint is to be switched off for never answering well."""
    return (
        failing_since is not None
        and failures >= FAILING_ATTEMPTS
        and now - failing_since >= FAILING_TIME
    )
