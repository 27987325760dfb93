from datetime import UTC, datetime

import pytest
from django.core.management import call_command

from jobs import calls
from jobs.admin.forms import RegionForm
from jobs.models import NO_RATE_LIMIT, Region
from jobs.scheduling.claims import Permit
from workers.ratelimit import permits as module
from workers.ratelimit.permits import RedisPermits

pytestmark = pytest.mark.django_db


def named(names: str) -> list[Permit]:
    return [Permit(member=name) for name in names]


@pytest.fixture
def region() -> Region:
    return Region.objects.create(
        name="local", base_url="http://x", max_concurrent=3, max_per_minute=4
    )


def test_places_are_granted_up_to_the_limit_and_come_back(broker, region):
    ledger = RedisPermits(broker)

    assert sum(ledger.acquire(region, named("abcd"))) == 3
    assert sum(ledger.acquire(region, named("d"))) == 0
    ledger.release("local", [Permit(member="a"), Permit(member="never-held")])
    assert sum(ledger.acquire(region, named("de"))) == 1


def test_the_minute_binds_even_when_places_are_free(broker, region):
    ledger = RedisPermits(broker)

    ledger.acquire(region, named("abc"))
    ledger.release("local", named("abc"))

    assert sum(ledger.acquire(region, named("de"))) == 1


def test_a_place_expires_with_its_holder_unless_renewed(broker, region, monkeypatch):
    ledger = RedisPermits(broker)
    ledger.acquire(region, named("ab"))
    held = "permits:{local:prerecorded}:held"
    broker.zadd(held, {"a": 1, "b": 1})

    ledger.renew("local", named("a"))

    assert sum(ledger.acquire(region, named("cd"))) == 2
    assert {member.decode() for member in broker.zrange(held, 0, -1)} == set("acd")


def test_after_a_flush_running_calls_and_the_last_minute_count(engine):
    engine.region.max_per_minute = 4
    engine.region.save()
    jobs = [engine.submit() for _ in range(3)]
    engine.tick()
    for job in jobs[:2]:
        job.refresh_from_db()
        calls.start_call(
            job_id=job.pk,
            lease_token=job.lease_token,
            worker="worker-1",
            now=datetime.now(UTC),
        )
    engine.broker.flushdb()

    granted = engine.permits.acquire(engine.region, named("xyz"))

    assert sum(granted) == 1  # four a minute, three claimed in this minute
    assert engine.permits_held() == 4


def test_redis_away_grants_nothing(region):
    client = module.redis.Redis.from_url("redis://127.0.0.1:1/0")

    assert RedisPermits(client).acquire(region, named("a")) == [False]


def test_a_narrow_pool_binds_only_those_who_need_it(broker, region):
    region.pools = {"diarize": 1}
    ledger = RedisPermits(broker)
    narrow = [Permit(member=name, pools=("diarize",)) for name in "ab"]

    granted = ledger.acquire(region, [*narrow, Permit(member="c")])

    assert granted == [True, False, True]
    assert ledger.find_room(region) == {"": 1, "diarize": 0}
    ledger.release("local", narrow[:1])
    assert ledger.find_room(region) == {"": 2, "diarize": 1}


def test_a_cooldown_is_shared_and_ends_by_itself(broker, region):
    ledger = RedisPermits(broker)
    ledger.acquire(region, named("a"))

    ledger.cool_down("local", seconds=30)

    assert ledger.find_room(region) == {"": 0}
    assert ledger.acquire(region, named("b")) == [False]
    broker.delete("permits:{local:prerecorded}:cooldown")
    assert ledger.acquire(region, named("b")) == [True]


def test_refused_granted_and_expired_permits_are_counted(broker, region):
    ledger = RedisPermits(broker)
    ledger.acquire(region, named("abcd"))
    broker.zadd("permits:{local:prerecorded}:held", {"a": 1})
    ledger.find_room(region)

    counts = broker.hgetall("permits:{local:prerecorded}:counts")

    assert counts == {b"granted": b"3", b"refused": b"1", b"expired": b"1"}


def test_places_that_redis_forgot_are_still_taken_by_the_rows(engine):
    for _ in range(6):
        engine.submit()
    assert len(engine.tick().claimed) == 5

    engine.broker.delete("permits:{local:prerecorded}:held")

    assert engine.tick().claimed == []


def test_the_minute_counts_from_when_a_call_begins(broker, region):
    ledger = RedisPermits(broker)
    (permit,) = named("a")
    ledger.acquire(region, [permit])
    window = "permits:{local:prerecorded}:window"
    broker.zadd(window, {"a": 1})  # granted long ago: it waited in the broker

    ledger.begin("local", [permit])

    assert broker.zscore(window, "a") > 1_000_000
    assert broker.zcard(window) == 1


def test_a_region_without_a_rate_limit_grants_as_many_as_it_has_places(broker, region):
    region.max_per_minute = NO_RATE_LIMIT
    region.max_concurrent = 3
    ledger = RedisPermits(broker)
    for names in ("abc", "def", "ghi"):
        assert all(ledger.acquire(region, named(names)))
        ledger.release("local", named(names))

    assert not region.has_rate_limit


@pytest.mark.parametrize(("text", "rate"), [("none", NO_RATE_LIMIT), ("980", 980)])
def test_the_command_takes_a_rate_or_none(db, text, rate):
    call_command(
        *("regions", "add", "local", "--base-url", "http://127.0.0.1:1"),
        *("--max-per-minute", text),
    )

    assert Region.objects.get().max_per_minute == rate


def test_the_form_leaves_a_rate_without_limit_empty(region):
    region.max_per_minute = NO_RATE_LIMIT
    form = RegionForm(instance=region)
    data = {**form.initial, "pools": "{}", "max_per_minute": ""}

    sent = RegionForm(data, instance=region)

    assert form.initial["max_per_minute"] is None
    assert sent.is_valid(), sent.errors
    assert sent.cleaned_data["max_per_minute"] == NO_RATE_LIMIT
