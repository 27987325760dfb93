"""Counting what comes in: exact for all processes, and for one while Redis is away."""

import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.conf import settings
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter

from jobs.telemetry.optional_redis import PAUSE_SECONDS, OptionalRedis, RedisUnavailable
from workers.ratelimit.inbound import InboundLimiter, ThrottlePolicy

NOWHERE = "redis://127.0.0.1:1/0"


def throttle(per_minute, policy="default"):
    return ThrottlePolicy(policy=policy, subject=str(uuid4()), per_minute=per_minute)


def inbound(url=None, **more):
    return InboundLimiter(OptionalRedis(url or settings.REDIS_URL, **more))


@contextmanager
def silent_server():
    """Listen, take connections, and never say a word."""
    taken = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def take():
            while not over.is_set():
                try:
                    taken.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=take)
        thread.start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0", taken
        over.set()
        thread.join()
    for connection in taken:
        connection.close()


@pytest.mark.parametrize("url", [None, NOWHERE])
def test_fifty_threads_get_exactly_what_there_is(url):
    counted = inbound(url)
    wanted = [throttle(37), throttle(1000, "tenant")]
    start = threading.Barrier(50)

    def ask(_number):
        start.wait(timeout=30)
        return [counted.acquire(wanted) for _ in range(4)]

    with ThreadPoolExecutor(50) as pool:
        taken = [each for four in pool.map(ask, range(50)) for each in four]

    assert Counter(each.granted for each in taken) == {True: 37, False: 163}
    left = [each.states[0].remaining for each in taken if each.granted]
    assert sorted(left) == list(range(37))


@pytest.mark.parametrize("url", [None, NOWHERE])
def test_what_is_refused_by_one_takes_nothing_of_the_other(url):
    counted, small, large = inbound(url), throttle(1), throttle(9, "tenant")
    counted.acquire([small, large])

    for _ in range(3):
        refused = counted.acquire([small, large])

    assert not refused.granted
    assert [each.remaining for each in refused.states] == [0, 8]
    assert refused.retry_after == refused.states[0].reset_seconds
    assert 55 <= refused.retry_after <= 60


def test_the_windows_are_the_librarys_own():
    counted, asked = inbound(), throttle(10)
    library = FixedWindowRateLimiter(RedisStorage(settings.REDIS_URL))
    names = (asked.policy, asked.subject)

    ours = [counted.acquire([asked]) for _ in range(3)][-1].states[0]
    library.hit(asked.item, *names)
    stats = library.get_window_stats(asked.item, *names)

    assert (ours.remaining, stats.remaining) == (7, 6)
    assert abs(stats.reset_time - time.time() - ours.reset_seconds) <= 2
    assert counted.acquire([asked]).states[0].remaining == 5


def test_a_window_ends_a_minute_after_its_first_request():
    link, asked = OptionalRedis(settings.REDIS_URL), throttle(1)
    counted = InboundLimiter(link)
    counted.acquire([asked])
    assert not counted.acquire([asked]).granted
    (name,) = link.client.keys(f"*{asked.subject}*")
    assert 59_000 < link.client.pttl(name) <= 60_000

    link.client.pexpire(name, 1)
    time.sleep(0.01)

    assert counted.acquire([asked]).granted


def test_a_redis_that_is_silent_holds_nobody_up_twice():
    with silent_server() as (url, taken):
        counted, asked = inbound(url), throttle(5)
        began = time.monotonic()

        answers = [counted.acquire([asked]).granted for _ in range(50)]

        assert time.monotonic() - began < 2
        assert len(taken) == 1
    assert answers == [True] * 5 + [False] * 45


def test_while_redis_is_away_one_tries_again_now_and_then():
    now, tries = 100.0, []
    link = OptionalRedis(NOWHERE, clock=lambda: now)

    def ask():
        tries.append(now)
        return link.client.ping()

    for moment in (100.0, 100.1, 104.9, 105.1, 105.2, 110.2):
        now = moment
        with pytest.raises(RedisUnavailable):
            link.call(ask)

    assert tries == [100.0, 105.1, 110.2]
    assert PAUSE_SECONDS == 5


def test_when_redis_is_back_it_counts_again(caplog, own_redis):
    now = 0.0
    server = own_redis()
    counted = InboundLimiter(OptionalRedis(server.url, clock=lambda: now))
    asked = throttle(9)

    def ask():
        return counted.acquire([asked]).states[0].remaining

    shared = ask()
    server.stop()
    alone = [ask(), ask()]
    own_redis(port=server.port)
    still_alone = ask()
    now = PAUSE_SECONDS + 1
    shared_again = ask()

    assert (shared, alone, still_alone, shared_again) == (8, [8, 7], 6, 8)
    said = [each.message for each in caplog.records if "redis" in each.message]
    assert said == ["redis unavailable", "redis available again"]


def test_a_link_that_broke_while_idle_is_mended_unnoticed():
    counted, asked = inbound(), throttle(9)
    counted.acquire([asked])
    for connection in counted._redis.client.connection_pool._available_connections:
        connection._sock.shutdown(socket.SHUT_RDWR)

    assert counted.acquire([asked]).states[0].remaining == 7
