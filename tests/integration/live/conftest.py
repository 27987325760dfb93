"""A real ASGI process, a real emulator behind it, and customers at its live door."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from jobs.accounts import tickets
from jobs.models import Job, Region
from jobs.state import JobStatus
from tests.integration.events.conftest import Door
from tests.support import ROOT
from tests.support.factories import make_key, make_tenant
from workers.embedded.processes import wait_until
from workers.emulator.engines.live import cells

RATE = 16_000
FRAME_SECONDS = 0.1
FRAME_BYTES = int(RATE * FRAME_SECONDS) * 2
IDLE_SECONDS = 1.5
RAW = {"encoding": "linear16", "sample_rate": RATE}


class Emulator:
    """The upstream."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, trust_env=False)

    def tell(self, **body: Any) -> None:
        assert self._http.post("/__emu__/faults", json=body).is_success

    def fault(self, kind: str, **more: Any) -> None:
        self.tell(rules=[{"kind": kind, "match": {"path": "/v1/listen"}, **more}])

    def cut(self, how: str = "rst") -> list[Any]:
        answer = self._http.delete("/__emu__/streams", params={"how": how})
        return answer.json()["cut"]

    def streams(self) -> list[dict[str, Any]]:
        return self._http.get("/__emu__/streams").json()["streams"]

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls so far, the first one first."""
        found = self._http.get("/__emu__/log").json()["requests"]
        return [each for each in found if each["path"] == "/v1/listen"]

    def forget(self) -> None:
        self._http.delete("/__emu__/faults")
        self.cut()
        self._http.delete("/__emu__/log")

    def close(self) -> None:
        self._http.close()


@dataclass
class Talk:
    """One session, as its client sees it."""

    socket: ClientConnection
    told: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.told if each["type"] == kind]

    @property
    def job_id(self) -> str:
        return self.of("ready")[0]["job_id"]

    @property
    def words(self) -> list[tuple[str, float, float]]:
        """The final words: each with its times."""
        return [
            (word["word"], word["start"], word["end"])
            for each in self.of("transcript")
            if each["is_final"]
            for word in each["words"]
        ]

    @property
    def warnings(self) -> list[str]:
        return [each["code"] for each in self.of("warning")]

    async def send(self, audio: bytes, *, seconds: float = 0.0) -> None:
        """Send frames, each this long after the one before."""
        for begin in range(0, len(audio), FRAME_BYTES):
            await self.socket.send(audio[begin : begin + FRAME_BYTES])
            await asyncio.sleep(seconds)

    async def say(self, kind: str) -> None:
        await self.socket.send(json.dumps({"type": kind}))

    async def hear(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next message of a kind."""
        async with asyncio.timeout(30):
            while True:
                told = json.loads(await self.socket.recv())
                self.told.append(told)
                if told["type"] == kind and fields.items() <= told.items():
                    return dict(told)

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """Be no silent client meanwhile, however long what is waited for takes."""

        async def keep() -> None:
            while True:
                await self.say("keepalive")
                await asyncio.sleep(0.3)

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def end(self) -> tuple[int, str]:
        """Hear all that comes; return how it was closed."""
        async with asyncio.timeout(20):
            with suppress(ConnectionClosed):
                while True:
                    self.told.append(json.loads(await self.socket.recv()))
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""

    async def finish(self) -> tuple[int, str]:
        await self.say("close")
        return await self.end()


class Customer:
    """Somebody with a key."""

    def __init__(self, door: Any, emulator: Emulator, broker: Any) -> None:
        self.door, self.emulator, self.broker = door, emulator, broker
        self.tenant = make_tenant()
        self.key, self.text = make_key(self.tenant)

    def connect(
        self,
        *,
        headers: Any = None,
        key: str | None = None,
        path: str = "/v1/live",
        by: Any = None,
        **query: Any,
    ) -> Any:
        """Open a socket as the library does, ``by`` options of its own."""
        sent = {"Authorization": f"Bearer {key or self.text}"} if key != "" else {}
        origin = (headers or {}).pop("Origin", None)
        return connect(
            f"ws://127.0.0.1:{self.door.port}{path}?{urlencode(query, doseq=True)}",
            additional_headers={**sent, **(headers or {})},
            origin=origin,
            proxy=None,
            compression=None,
            max_size=None,
            **(by or {}),
        )

    @asynccontextmanager
    async def talk(
        self, *, key: str | None = None, **query: Any
    ) -> AsyncIterator[Talk]:
        async with self.connect(key=key, **{**RAW, **query}) as socket:
            talk = Talk(socket)
            await talk.hear("ready")
            yield talk

    def post(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.text}"}
        try:
            return Client().post(path, content_type="application/json", headers=headers)
        finally:
            if threading.current_thread() is not threading.main_thread():
                connection.close()  # the thread's own, which nobody else closes

    def settles(self) -> bool:
        """Tell whether every session of it ends, and its place is back at once."""
        running = Job.objects.filter(status=JobStatus.PROCESSING)
        return wait_until(lambda: not running.exists(), seconds=8) and self.is_free()

    def places(self) -> int:
        """Return how many streams hold a place."""
        return int(self.broker.zcard("permits:{local:stream}:held"))

    def is_free(self) -> bool:
        """Tell whether all places are back within a second."""
        return wait_until(lambda: self.places() == 0, seconds=1)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    ready = tmp_path_factory.mktemp("upstream") / "ready.json"
    command = [sys.executable, "-m", "workers.emulator", "--port", "0"]
    process = subprocess.Popen([*command, "--ready-file", str(ready)], cwd=ROOT)
    try:
        assert wait_until(ready.exists, seconds=30)
        emulator = Emulator(json.loads(ready.read_text())["url"])
        yield emulator
        emulator.close()
    finally:
        process.terminate()
        process.wait()


SETTINGS = {
    "LIVE_IDLE_SECONDS": str(IDLE_SECONDS),
    "LIVE_STALL_SECONDS": "3",
    "LIVE_SLOW_SECONDS": "1",
    "LIVE_KEEPALIVE_CONTENDED_SECONDS": "1",
    "LIVE_MAX_SECONDS": "60",
    "LEASE_SECONDS": "3",  # so the heart beats each second
    "LIVE_ALLOWED_ORIGINS": "https://app.example.com",
    "DEEPGRAM_API_KEY": "test-key",
    "EGRESS_ALLOW": "127.0.0.0/8",
}


_doors: list[Door] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the door with the last test of this folder: its heart beats into tables."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        while _doors:
            _doors.pop().stop()


@pytest.fixture
def live_door(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Door:
    """One for all tests that follow each other."""
    if not _doors:
        _doors.append(Door(tmp_path_factory.mktemp("live"), **SETTINGS))
        _doors[0].wait()
    return _doors[0]


@pytest.fixture
def me(
    transactional_db: None, live_door: Door, upstream: Emulator
) -> Iterator[Customer]:
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.flushdb()
    Region.objects.create(name="local", base_url=upstream.url)
    yield Customer(live_door, upstream, broker)
    upstream.forget()
    # What a session still writes would meet the emptying of the tables.
    running = Job.objects.filter(status=JobStatus.PROCESSING)
    wait_until(lambda: not running.exists(), seconds=3)
    broker.close()


def make_ticket(me, *, at=None, **draft):
    body = {"options": {}, "mode": "live", **draft}
    return tickets.create_ticket(
        tenant=me.tenant, api_key=me.key, draft=body, now=at or timezone.now()
    )[1]


def speech(seconds: float, seed: int = 1) -> bytes:
    return cells.speech(seconds, seed=seed, sample_rate=RATE)


def truth(audio: bytes) -> list[tuple[str, float, float]]:
    return [(each.text, each.start, each.end) for each in cells.find_words(audio, RATE)]


def rounded(words: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    return [(word, round(start, 3), round(end, 3)) for word, start, end in words]
