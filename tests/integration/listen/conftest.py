from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from deepgram import DeepgramClient
from django.conf import settings as django_settings

from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.models import Region
from tests.support.api import Api
from tests.support.emulator_process import sdk_client
from workers.api.transcribe import runner
from workers.api.transcribe.runner import CallRunner
from workers.liveness.heartbeat import Heartbeat
from workers.ratelimit.permits import RedisPermits


@pytest.fixture(autouse=True)
def media(media: Path) -> Path:
    """Give every test of this folder a storage of its own."""
    return media


@dataclass
class Customer:
    """A user of Deepgram's SDK who changed the base URL, and the key."""

    api: Api
    url: str
    http: httpx.Client
    region: Region
    permits: RedisPermits
    runner: CallRunner

    def client(self, key: str = "") -> DeepgramClient:
        return sdk_client(self.url, key or self.api.text, self.http)

    @property
    def media(self) -> Any:
        return self.client().listen.v1.media

    def post(self, query: str = "", key: str = "", **request: Any) -> httpx.Response:
        headers = {
            "authorization": f"Token {key or self.api.text}",
            **request.pop("headers", {}),
        }
        return self.http.post(
            f"{self.url}/v1/listen{query}", headers=headers, **request
        )


@pytest.fixture
def customer(
    live_server,
    transactional_db,
    emulator,
    settings,
    monkeypatch,
) -> Iterator[Customer]:
    settings.DEEPGRAM_API_KEY = "test-key"
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    settings.LISTEN_WAIT_SECONDS = 20
    broker = redis.Redis.from_url(django_settings.REDIS_URL)
    broker.flushdb()
    permits = RedisPermits(broker)
    made = CallRunner(
        gate=FairSemaphore(4),
        heartbeat=Heartbeat(queues=[], slots=0, permits=permits),
        permits=permits,
        threads=ThreadPoolExecutor(4),
    )
    monkeypatch.setattr(runner, "get_runner", lambda: made)
    region = Region.objects.create(
        name="local", base_url=emulator.url, max_concurrent=3
    )
    with httpx.Client(timeout=60, trust_env=False) as http:
        yield Customer(Api(), live_server.url, http, region, permits, made)
    made.threads.shutdown(wait=True)
    broker.flushdb()
    broker.close()
