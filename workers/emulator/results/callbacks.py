"""Handing documents to callback URLs, with Deepgram's retries."""

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

# The only ports Deepgram calls back on; checked with `--strict-urls`.
PORTS = frozenset({80, 443, 8080, 8443})
_CONNECT_TIMEOUT = 1.0
_RESPONSE_TIMEOUT = 10.0


@dataclass(slots=True, kw_only=True)
class Counts:
    """What became of the callbacks."""

    pending: int = 0
    delivered: int = 0
    lost: int = 0


class CallbackSender:
    """Run what goes on after a call was accepted, and deliver the outcome."""

    def __init__(self, settings: config.Config) -> None:
        self.counts = Counts()
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the client session; it belongs to the running loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(
                total=_RESPONSE_TIMEOUT, connect=_CONNECT_TIMEOUT
            ),
            headers={"user-agent": "deepgram-emulator"},
        )

    async def close(self) -> None:
        """Give up on what is not delivered yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def check(self, url: str) -> None:
        """Raise Refused when this is no place to call back."""
        if self._settings.strict_urls and yarl.URL(url).port not in PORTS:
            raise refusals.Refused(refusals.INVALID_CALLBACK)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the work beside the calls; `close` ends it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def deliver(
        self, body: bytes, *, wanted: options.Options, entry: journal.Entry
    ) -> None:
        """Send until it is taken with a 2xx; afterwards the result is lost."""
        self.counts.pending += 1
        try:
            for attempt in range(self._settings.callback_retries + 1):
                if attempt:
                    await asyncio.sleep(self._settings.callback_interval)
                entry.callback_attempts = attempt + 1
                if await self._send(body, wanted=wanted, entry=entry):
                    self.counts.delivered += 1
                    return
            self.counts.lost += 1
            LOGGER.warning("callback lost", extra={"request_id": entry.request_id})
        finally:
            self.counts.pending -= 1

    async def _send(
        self, body: bytes, *, wanted: options.Options, entry: journal.Entry
    ) -> bool:
        if self._session is None:
            raise RuntimeError("the sender is not started")
        try:
            async with self._session.request(
                wanted.callback_method,
                wanted.callback,
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
