"""What callers are told of their throttles, and what too many requests meet."""

import itertools
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import time_machine
from django.db import connections
from django.test import Client

from jobs import queries
from jobs.models import Job
from jobs.scheduling import dispatch
from jobs.telemetry.optional_redis import OptionalRedis
from tests.support.api import Api, assert_nothing_written, assert_problem
from tests.support.factories import make_job, make_key, make_tenant
from transcribe_platform.middleware import throttling
from workers.ratelimit.inbound import InboundLimiter

BODY = {"audio_url": "https://audio.example.com/a.wav"}
_hosts = itertools.count(1)


def caller(per_minute):
    return Api(make_tenant(requests_per_minute=per_minute))


def left(answer):
    """Return {policy: (remaining, seconds)}."""
    entries = answer.headers["RateLimit"].split(", ")
    parsed = [re.fullmatch(r'"(\w+)";r=(\d+);t=(\d+)', each) for each in entries]
    return {each[1]: (int(each[2]), int(each[3])) for each in parsed}


def test_an_answer_says_how_much_is_left(api, settings):
    settings.REQUESTS_PER_MINUTE, settings.REQUESTS_PER_MINUTE_PER_KEY = 50, 20

    answers = [api.get("/v1/me") for _ in range(3)]

    policy = '"default";q=20;w=60, "tenant";q=50;w=60'
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {policy}
    assert [left(a)["default"][0] for a in answers] == [19, 18, 17]
    assert [left(a)["tenant"][0] for a in answers] == [49, 48, 47]
    assert all(0 < t <= 60 for a in answers for _, t in left(a).values())


def test_the_numbers_add_up_to_a_refusal(db, media):
    api = caller(2)

    one, two, three = (api.get("/v1/me") for _ in range(3))
    posted = api.post("/v1/jobs", BODY, {"Idempotency-Key": "k"})

    assert [one.status_code, two.status_code] == [200, 200]
    assert [left(a)["default"][0] for a in (one, two, three, posted)] == [1, 0, 0, 0]
    problem = assert_problem(three, 429, "rate_limited")
    assert "minute" in problem["detail"]
    assert int(three.headers["Retry-After"]) == left(three)["default"][1]
    assert_problem(posted, 429, "rate_limited")
    assert_nothing_written(media)


def test_keys_of_one_tenant_share_what_it_has(api, settings):
    settings.REQUESTS_PER_MINUTE, settings.REQUESTS_PER_MINUTE_PER_KEY = 3, 2
    other, stranger = Api(api.tenant), Api()

    statuses = [
        each.get("/v1/me").status_code for each in (api, api, api, other, other)
    ]

    # The third is refused by the key and takes nothing of the tenant.
    assert statuses == [200, 200, 429, 200, 429]
    assert stranger.get("/v1/me").status_code == 200


@pytest.mark.parametrize("own", [None, 0])
def test_without_a_throttle_nothing_is_said(db, settings, own):
    if own is None:
        settings.REQUESTS_PER_MINUTE = settings.REQUESTS_PER_MINUTE_PER_KEY = 0

    answer = caller(own).get("/v1/me")

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("RateLimit")]


def test_every_answer_to_a_key_says_it(api, monkeypatch):
    job = make_job(api.tenant)
    powerless = Api(api.tenant)
    powerless.key, powerless.text = make_key(api.tenant, scopes=())
    answers = {
        200: api.get("/v1/me"),
        202: api.post("/v1/jobs", BODY),
        204: api.client.options("/v1/me", headers=api.headers()),
        400: api.get("/v1/jobs?limit=0"),
        403: powerless.get("/v1/jobs"),
        404: api.get("/v1/jobs/0197b2f0-0000-7000-8000-000000000000"),
        405: api.client.put("/v1/me", headers=api.headers()),
        406: api.get("/v1/me", {"Accept": "text/html"}),
        409: api.get(f"/v1/transcripts/{job.pk}"),
        413: api.post("/v1/jobs", b" " * (1024**2 + 1)),
        415: api.post("/v1/jobs", b"x", content_type="text/plain"),
    }
    monkeypatch.setattr(queries, "get_job", lambda **_named: 1 / 0)
    answers[500] = api.get(f"/v1/jobs/{job.pk}")

    for status, answer in answers.items():
        assert answer.status_code == status
        assert set(left(answer)) == {"default", "tenant"}, status


@pytest.mark.django_db(transaction=True)
def test_of_fifty_parallel_requests_exactly_those_pass_that_may():
    api = caller(20)
    start = threading.Barrier(50)

    def post(_number):
        start.wait(timeout=30)
        try:
            return [api.post("/v1/jobs", BODY).status_code for _ in range(2)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50) as pool:
        statuses = [each for two in pool.map(post, range(50)) for each in two]

    assert Counter(statuses) == {202: 20, 429: 80}
    assert Job.objects.count() == 20


def test_without_redis_requests_are_served_and_still_counted(db, monkeypatch):
    inbound = InboundLimiter(OptionalRedis("redis://127.0.0.1:1/0"))
    monkeypatch.setattr(throttling, "get_inbound_limiter", lambda: inbound)
    monkeypatch.setattr(dispatch, "_redis", OptionalRedis("redis://127.0.0.1:1/0"))
    api = caller(2)

    answers = [api.post("/v1/jobs", BODY) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert [left(answer)["tenant"][0] for answer in answers] == [1, 0, 0]


@pytest.fixture
def guess(settings):
    settings.FAILED_KEYS_PER_MINUTE = 3
    host = f"192.0.2.{next(_hosts)}"
    client = Client(raise_request_exception=False)

    def ask(text, address=host):
        return client.get(
            "/v1/me", headers={"Authorization": f"Bearer {text}"}, REMOTE_ADDR=address
        )

    return ask


def test_guessing_keys_is_slowed_down(api, guess, django_assert_num_queries):
    unused = make_key()[1]
    assert guess(api.text).status_code == 200

    statuses = [guess("tp_live_x").status_code for _ in range(5)]

    assert statuses == [401, 401, 401, 429, 429]
    with django_assert_num_queries(0):
        refused = guess(unused)
    assert_problem(refused, 429, "rate_limited")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert "RateLimit" not in refused.headers


def test_a_key_that_worked_works_on_beside_a_guesser(api, guess):
    guess(api.text)
    for _ in range(5):
        guess("tp_live_x")

    assert guess(api.text).status_code == 200


def test_a_guesser_slows_down_no_other_address(guess):
    for _ in range(5):
        guess("tp_live_x")

    assert guess("tp_live_x", "198.51.100.7").status_code == 401


def test_addresses_of_one_household_are_counted_as_one(db, guess):
    network = f"2001:db8:{next(_hosts)}:1::"

    statuses = [guess("x", f"{network}{n}").status_code for n in range(1, 6)]

    assert statuses == [401, 401, 401, 429, 429]


def test_a_full_cache_evicts_the_oldest_entry():
    cache = throttling.build_cache("test", size=2)
    for key in "abc":
        cache.set(key, 1, 10)

    assert [cache.get(key) for key in "abc"] == [None, 1, 1]


def test_the_suspicion_ends_by_itself(api, guess):
    unused = make_key()[1]
    statuses = [guess("tp_live_x").status_code for _ in range(4)]

    assert statuses[-1] == guess(unused).status_code == 429
    with time_machine.travel(time.time() + 61):
        assert guess(unused).status_code == 200
