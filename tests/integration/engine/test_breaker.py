import pytest

from workers.ratelimit.breaker import NO_LIMIT, CircuitBreaker

STATE = "breaker:{local}:state"


@pytest.fixture
def breaker(broker) -> CircuitBreaker:
    return CircuitBreaker(broker)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.record("local", well=False)


def test_it_opens_when_half_of_ten_calls_failed(breaker):
    for _ in range(5):
        breaker.record("local", well=True)
    fail(breaker, 4)
    assert breaker.allow("local") == NO_LIMIT

    fail(breaker, 1)

    assert breaker.allow("local") == 0
    assert breaker.allow("elsewhere") == NO_LIMIT


def test_few_failures_do_not_open_it(breaker):
    fail(breaker, 9)

    assert breaker.allow("local") == NO_LIMIT


def test_after_the_wait_one_trial_at_a_time(breaker, broker):
    fail(breaker, 10)
    broker.hset(STATE, "open_until", 1)

    assert breaker.allow("local") == 1
    assert breaker.allow("local") == 0


def test_a_trial_that_fails_doubles_the_wait(breaker, broker):
    fail(breaker, 10)
    assert broker.hget(STATE, "wait") == b"1000"
    broker.hset(STATE, "open_until", 1)

    fail(breaker, 1)

    assert broker.hget(STATE, "wait") == b"2000"
    assert breaker.allow("local") == 0


def test_what_began_before_it_opened_is_no_news(breaker, broker):
    fail(breaker, 12)

    assert broker.hget(STATE, "wait") == b"1000"


def test_a_success_closes_it(breaker):
    fail(breaker, 10)

    breaker.record("local", well=True)

    assert breaker.allow("local") == NO_LIMIT
