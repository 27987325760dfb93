from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from django.conf import settings

from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.models import Region
from tests.support.api import Api
from tests.support.fake_backend import FakeBackend
from workers.api.transcribe import runner
from workers.api.transcribe.runner import CallRunner
from workers.liveness.heartbeat import Heartbeat
from workers.ratelimit.permits import RedisPermits


@pytest.fixture(autouse=True)
def media(media: Path) -> Path:
    """Give every test of this folder a storage of its own."""
    return media


@dataclass
class Door:
    """The synchronous door of one process, with an upstream that does as it is told."""

    api: Api
    backend: FakeBackend
    region: Region
    permits: RedisPermits
    broker: redis.Redis
    runner: CallRunner

    def transcribe(self, headers=None, **body):
        body = {"audio_url": "https://audio.example.com/a.wav"} | body
        return self.api.post("/v1/transcribe", body, headers=headers)

    def places_held(self) -> int:
        return self.broker.zcard("permits:{local:prerecorded}:held")

    def settle(self) -> None:
        """Wait until nothing runs here any more."""
        self.runner.threads.shutdown(wait=True)


@pytest.fixture
def door(transactional_db, monkeypatch) -> Iterator[Door]:
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.flushdb()
    permits = RedisPermits(broker)
    made = CallRunner(
        gate=FairSemaphore(4),
        heartbeat=Heartbeat(queues=[], slots=0, permits=permits),
        permits=permits,
        threads=ThreadPoolExecutor(4),
    )
    backend = FakeBackend()
    monkeypatch.setattr(runner, "get_runner", lambda: made)
    monkeypatch.setattr(runner, "get_backend", lambda: backend)
    region = Region.objects.create(
        name="local", base_url="http://127.0.0.1:1", max_concurrent=3
    )
    yield Door(Api(), backend, region, permits, broker, made)
    made.threads.shutdown(wait=True)
    broker.flushdb()
    broker.close()
