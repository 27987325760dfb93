"""Customers of the live API, and the sessions they hold."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from jobs.accounts import tickets
from jobs.models import Job
from jobs.state import JobStatus
from tests.support.emulator_process import EmulatorProcess
from tests.support.factories import make_key, make_tenant
from tests.support.live_streams import FRAME_BYTES, RATE, rounded
from workers.embedded.processes import wait_until

RAW = {"encoding": "linear16", "sample_rate": RATE}


# Of the process that the tests of live sessions share.
IDLE_SECONDS = 1.5
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


@dataclass
class LiveClient:
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
        return rounded(
            (word["word"], word["start"], word["end"])
            for each in self.of("transcript")
            if each["is_final"]
            for word in each["words"]
        )

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

    def __init__(self, door: Any, emulator: EmulatorProcess, broker: Any) -> None:
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
    ) -> AsyncIterator[LiveClient]:
        async with self.connect(key=key, **{**RAW, **query}) as socket:
            talk = LiveClient(socket)
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


def make_ticket(me, *, at=None, **draft):
    body = {"options": {}, "mode": "live", **draft}
    return tickets.create_ticket(
        tenant=me.tenant, api_key=me.key, draft=body, now=at or timezone.now()
    )[1]
