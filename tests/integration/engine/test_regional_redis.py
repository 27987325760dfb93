"""A region may have a Redis of its own: broker of its workers, ledger of its permits."""

import redis

from jobs.models import Region, Worker
from jobs.scheduling import dispatch
from workers.ratelimit.permits import RedisPermits


def test_claims_and_permits_of_a_region_go_to_its_own_redis(engine, settings):
    here = engine.broker.connection_pool.connection_kwargs["db"]
    url = settings.REDIS_URL.rsplit("/", 1)[0] + f"/{here + 1}"
    theirs = redis.Redis.from_url(url)
    theirs.flushdb()
    settings.REGION_REDIS_URLS = {"eu": url}
    dispatch.get_connection.cache_clear()
    Region.objects.create(name="eu", base_url="http://127.0.0.1:1")
    Worker.objects.update(queues=["transcribe.local", "transcribe.eu"])
    engine.permits = RedisPermits(engine.broker, own={"eu": theirs})
    engine.submit(allowed_regions=["eu"])
    engine.submit(allowed_regions=["local"])

    claimed = engine.tick().claimed

    assert {job.region_id for job in claimed} == {"eu", "local"}
    assert engine.sent() == 1
    assert theirs.llen("transcribe:transcribe.eu\x06\x166") == 1
    assert theirs.zcard("permits:{eu:prerecorded}:held") == 1
    assert engine.broker.zcard("permits:{eu:prerecorded}:held") == 0
    dispatch.get_connection.cache_clear()
    theirs.flushdb()
    theirs.close()


def test_a_pool_that_serves_two_regions_is_not_sent_twice_its_threads(engine):
    Region.objects.create(name="eu", base_url="http://127.0.0.1:1")
    Worker.objects.update(queues=["transcribe.local", "transcribe.eu"], slots=4)
    for _ in range(10):
        engine.submit()

    assert len(engine.tick().claimed) == 4
    assert engine.tick().claimed == []
