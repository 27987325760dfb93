import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.backoff import RULES, Curve, Decision, Failure, next_try
from jobs.errors import UpstreamError

CURVE = Curve(base_seconds=2, cap_seconds=300)


def decide(failure: str, *, attempt=1, alike=0, retry_after=None, top=True) -> Decision:
    return next_try(
        UpstreamError("x", failure=failure, retry_after=retry_after),
        attempt=attempt,
        max_attempts=5,
        same_errors=alike,
        curve=CURVE,
        uniform=lambda low, high: high if top else low,
    )


def test_every_class_of_failure_has_a_rule():
    assert set(RULES) == set(Failure)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (2, 4), (3, 8), (4, 16)])
def test_the_wait_doubles(attempt, seconds):
    assert decide("unavailable", attempt=attempt).retry_in == seconds


def test_the_jitter_reaches_down_to_nothing():
    assert decide("unavailable", attempt=4, top=False).retry_in == 0


def test_the_last_attempt_is_final():
    assert decide("unavailable", attempt=5).retry_in is None


def test_a_429_uses_no_attempt_up_and_outlives_the_last_one():
    decision = decide("rate_limited", attempt=5, retry_after=90.0)

    assert decision == Decision(retry_in=90.0, counts=False)


def test_never_earlier_than_retry_after():
    assert decide("unavailable", retry_after=120.0, top=False).retry_in == 120


def test_a_504_is_tried_once_more():
    assert decide("too_long").retry_in is not None
    assert decide("too_long", attempt=2, alike=1).retry_in is None


@pytest.mark.parametrize("failure", ["bad_media", "bad_options", "platform"])
def test_what_another_call_cannot_cure_is_final(failure):
    assert decide(failure).retry_in is None


def test_a_refused_key_keeps_the_jobs():
    assert decide("account", attempt=5).retry_in >= 60


@given(
    failure=st.sampled_from(list(Failure)),
    attempt=st.integers(1, 50),
    alike=st.integers(0, 50),
    retry_after=st.one_of(st.none(), st.floats(0, 3600)),
    share=st.floats(0, 1),
)
def test_a_wait_is_finite_and_never_below_its_floors(
    failure, attempt, alike, retry_after, share
):
    decision = next_try(
        UpstreamError("x", failure=failure, retry_after=retry_after),
        attempt=attempt,
        max_attempts=5,
        same_errors=alike,
        curve=CURVE,
        uniform=lambda low, high: low + share * (high - low),
    )

    if decision.retry_in is not None:
        floor = max(RULES[failure].floor_seconds, retry_after or 0)
        assert floor <= decision.retry_in <= max(300, floor)
