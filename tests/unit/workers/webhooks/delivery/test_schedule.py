from datetime import UTC, datetime, timedelta

import pytest

from workers.webhooks.delivery import schedule
from workers.webhooks.delivery.schedule import (
    NextStep,
    PostResult,
    RetrySchedule,
    Status,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
DELAYS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
PLAN = RetrySchedule(delays=DELAYS, throttled_seconds=60)
MIDDLE = 0.5  # the draw that leaves a delay as it is


def step(answer: PostResult, *, attempts: int = 1, draw: float = MIDDLE) -> NextStep:
    return schedule.next_step(answer, attempts=attempts, plan=PLAN, draw=draw, now=NOW)


def test_ten_attempts_by_the_published_schedule_then_no_more():
    steps = [step(PostResult(status_code=500), attempts=n) for n in range(1, 11)]

    assert [each.delay for each in steps] == [*DELAYS, None]
    assert [each.status for each in steps] == [Status.PENDING] * 9 + [Status.FAILED]


@pytest.mark.parametrize(("draw", "delay"), [(0, 240), (0.25, 270), (1, 360)])
def test_the_jitter_is_a_fifth_to_either_side(draw, delay):
    found = step(PostResult(status_code=500), attempts=2, draw=draw).delay

    assert found == pytest.approx(delay)


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(code):
    assert step(PostResult(status_code=code)) == NextStep(status=Status.DELIVERED)


@pytest.mark.parametrize("code", [101, 301, 302, 307, 308, 400, 401, 404, 405, 500])
def test_any_other_status_is_tried_again(code):
    assert step(PostResult(status_code=code)) == NextStep(
        status=Status.PENDING, delay=5
    )


@pytest.mark.parametrize(
    "error", ["connect_failed", "tls_failed", "bad_response", "destination_not_allowed"]
)
def test_any_error_is_tried_again(error):
    assert step(PostResult(error=error)) == NextStep(status=Status.PENDING, delay=5)


@pytest.mark.parametrize(
    "answer",
    [
        PostResult(error="timeout"),
        *(PostResult(status_code=c) for c in (429, 502, 503, 504)),
    ],
)
def test_who_is_too_busy_is_left_alone_for_a_minute(answer):
    assert step(answer).delay == 60
    assert step(answer, attempts=2).delay == 300


def test_gone_switches_the_endpoint_off():
    assert step(PostResult(status_code=410)) == NextStep(
        status=Status.DISCARDED, disable="gone"
    )


@pytest.mark.parametrize(
    ("instruction", "code", "expected"),
    [
        (
            "disable",
            500,
            NextStep(status=Status.DISCARDED, disable="asked_by_receiver"),
        ),
        (
            " Disable ",
            200,
            NextStep(status=Status.DELIVERED, disable="asked_by_receiver"),
        ),
        ("abort-message", 500, NextStep(status=Status.DISCARDED)),
        ("abort-message", 200, NextStep(status=Status.DELIVERED)),
        ("whatever", 500, NextStep(status=Status.PENDING, delay=5)),
    ],
)
def test_the_receiver_may_ask_to_stop(instruction, code, expected):
    assert step(PostResult(status_code=code, instruction=instruction)) == expected


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [
        ("600", 600),  # longer than the schedule's 300: heeded
        ("10", 300),  # never sooner than the schedule
        ("86400", 3600),  # at most an hour, or twice the delay
        ("9" * 400, 3600),
        ("-5", 300),
        ("soon", 300),
        ("", 300),
        ("Sun, 22 Nov 2026 12:10:00 GMT", 600),
        ("Sun, 22 Nov 2026 12:10:00 -0000", 600),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 300),
        ("Sun, 22 Nov 9999 11:00:00 GMT", 3600),
        ("Sun, 99 Nov 2026 12:10:00 GMT", 300),
        (f"Sun, 22 Nov 2026 12:10:{'9' * 20} GMT", 300),
        (f"Sun, 22 Nov 2026 12:10:00 +{'9' * 20}", 300),
    ],
)
def test_retry_after_lengthens_a_wait_within_bounds(retry_after, delay):
    answer = PostResult(status_code=503, retry_after=retry_after)

    assert step(answer, attempts=2).delay == pytest.approx(delay)


def test_retry_after_may_double_a_long_delay():
    answer = PostResult(status_code=429, retry_after="999999")

    assert step(answer, attempts=4).delay == pytest.approx(14400)


@pytest.mark.parametrize(
    ("failures", "since", "too_long"),
    [
        (10, timedelta(days=5), True),
        (9, timedelta(days=6), False),
        (99, timedelta(days=4, hours=23), False),
        (99, None, False),
    ],
)
def test_only_five_days_of_nothing_but_failures_are_too_long(failures, since, too_long):
    found = schedule.has_failed_too_long(
        failures=failures, failing_since=None if since is None else NOW - since, now=NOW
    )

    assert found is too_long
