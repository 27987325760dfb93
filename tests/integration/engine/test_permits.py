from datetime import UTC, datetime

import pytest

from jobs import services
from jobs.models import Region
from workers.ratelimit import permits as module
from workers.ratelimit.permits import RedisPermits

pytestmark = pytest.mark.django_db


@pytest.fixture
def region() -> Region:
    return Region.objects.create(
        name="local", base_url="http://x", max_concurrent=3, max_per_minute=4
    )


def test_places_are_granted_up_to_the_limit_and_come_back(broker, region):
    ledger = RedisPermits(broker)

    assert ledger.acquire(region, ["a", "b", "c", "d"]) == 3
    assert ledger.acquire(region, ["d"]) == 0
    ledger.release("local", ["a", "never-held"])
    assert ledger.acquire(region, ["d", "e"]) == 1


def test_the_minute_binds_even_when_places_are_free(broker, region):
    ledger = RedisPermits(broker)

    ledger.acquire(region, ["a", "b", "c"])
    ledger.release("local", ["a", "b", "c"])

    assert ledger.acquire(region, ["d", "e"]) == 1


def test_a_place_expires_with_its_holder_unless_renewed(broker, region, monkeypatch):
    ledger = RedisPermits(broker)
    ledger.acquire(region, ["a", "b"])
    held = "permits:{local:prerecorded}:held"
    broker.zadd(held, {"a": 1, "b": 1})

    ledger.renew("local", ["a"])

    assert ledger.acquire(region, ["c", "d"]) == 2
    assert {member.decode() for member in broker.zrange(held, 0, -1)} == set("acd")


def test_after_a_flush_running_calls_and_the_last_minute_count(engine):
    engine.region.max_per_minute = 4
    engine.region.save()
    jobs = [engine.submit() for _ in range(3)]
    engine.tick()
    for job in jobs[:2]:
        job.refresh_from_db()
        services.start_call(
            job_id=job.pk,
            lease_token=job.lease_token,
            worker="worker-1",
            now=datetime.now(UTC),
        )
    engine.broker.flushdb()

    granted = engine.permits.acquire(engine.region, ["x", "y", "z"])

    assert granted == 1  # four a minute, three claimed in this minute
    assert engine.permits_held() == 4


def test_redis_away_grants_nothing(region):
    client = module.redis.Redis.from_url("redis://127.0.0.1:1/0")

    assert RedisPermits(client).acquire(region, ["a"]) == 0
