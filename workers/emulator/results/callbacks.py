"""Delivers documents to callback URLs, with Deepgram's retries."""

import asyncio
import http
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
import yarl

from workers.emulator import config, journal
from workers.emulator.protocol import options, refusals

LOGGER = logging.getLogger(__name__)

# The only ports to which Deepgram sends callbacks; checked with `--strict-urls`.
PORTS = frozenset({80, 443, 8080, 8443})
_CONNECT_TIMEOUT = 1.0
_RESPONSE_TIMEOUT = 10.0


@dataclass(slots=True, kw_only=True)
class Counts:
    """Counts of callbacks by state."""

    pending: int = 0
    delivered: int = 0
    lost: int = 0


class CallbackSender:
    """Runs accepted calls in the background and delivers their results."""

    def __init__(self, settings: config.Config) -> None:
        self.counts = Counts()
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the client session in the running event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(
                total=_RESPONSE_TIMEOUT, connect=_CONNECT_TIMEOUT
            ),
            headers={"user-agent": "deepgram-emulator"},
        )

    async def close(self) -> None:
        """Cancel pending deliveries."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def check(self, url: str) -> None:
        """Raise Refused when the port is not allowed for callbacks."""
        if self._settings.strict_urls and yarl.URL(url).port not in PORTS:
            raise refusals.Refused(refusals.INVALID_CALLBACK)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background; `close` cancels it."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def deliver(
        self, body: bytes, *, params: options.Options, entry: journal.Entry
    ) -> None:
        """Send until a 2xx response, or until the retries are exhausted."""
        self.counts.pending += 1
        try:
            for attempt in range(self._settings.callback_retries + 1):
                if attempt:
                    await asyncio.sleep(self._settings.callback_interval)
                entry.callback_attempts = attempt + 1
                if await self._send(body, params=params, entry=entry):
                    self.counts.delivered += 1
                    return
            self.counts.lost += 1
            LOGGER.warning("callback lost", extra={"request_id": entry.request_id})
        finally:
            self.counts.pending -= 1

    async def _send(
        self, body: bytes, *, params: options.Options, entry: journal.Entry
    ) -> bool:
        if self._session is None:
            raise RuntimeError("The callback sender is not started.")
        try:
            async with self._session.request(
                params.callback_method,
                params.callback,
                data=body,
                allow_redirects=False,
                headers={
                    "content-type": "application/json",
                    "dg-request-id": entry.request_id,
                },
            ) as response:
                entry.callback_status = response.status
                return (
                    http.HTTPStatus.OK
                    <= response.status
                    < http.HTTPStatus.MULTIPLE_CHOICES
                )
        except (aiohttp.ClientError, TimeoutError, OSError):
            entry.callback_status = None
            return False
