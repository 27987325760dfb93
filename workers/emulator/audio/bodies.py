"""Reads audio from a request body or fetches it from the URL in the request.

Both read in chunks and delete what they received on failure.
"""

import asyncio
import http
import ipaddress
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import yarl
from aiohttp import web

from workers.emulator import audio, config
from workers.emulator.protocol import refusals

MAX_REDIRECTS = 5
_CONNECT_TIMEOUT = 5.0
_JSON_BYTES = 64 * 1024
_MAX_CACHED = 256
# Content types of web pages and API responses: the URL is not media.
_PAGES = ("text/html", "application/json", "application/xml", "text/xml")


async def read_upload(request: web.Request, settings: config.Config) -> audio.Audio:
    """Return the body of the call, or raise Refused as Deepgram does."""
    spool = _open_spool(settings)
    try:
        async with asyncio.timeout(None) as deadline:
            async for chunk in request.content.iter_any():
                spool.write(chunk)
                deadline.reschedule(
                    asyncio.get_running_loop().time() + settings.upload_timeout
                )
    except TimeoutError:
        spool.discard()
        raise refusals.Refused(refusals.SLOW_UPLOAD) from None
    except (aiohttp.ClientPayloadError, ConnectionError, web.RequestPayloadError):
        spool.discard()
        raise refusals.Refused(refusals.UNREADABLE) from None
    except BaseException:
        spool.discard()
        raise
    return spool.finish()


async def read_media_url(request: web.Request) -> str:
    """Return the media URL in a JSON body, or raise Refused."""
    body = b""
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > _JSON_BYTES:
            raise refusals.Refused(refusals.UNREADABLE_JSON)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise refusals.Refused(refusals.UNREADABLE_JSON) from None
    url = document.get("url") if isinstance(document, dict) else None
    if not isinstance(url, str):
        raise refusals.invalid_json("missing field `url`")
    return url


class Fetcher:
    """Fetches media by URL.

    Can cache small responses for `fetch_cache_seconds`, so that a load test does not
    measure the download.
    """

    def __init__(self, settings: config.Config) -> None:
        self._settings = settings
        self._cache: OrderedDict[str, tuple[float, audio.Audio]] = OrderedDict()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the client session in the running event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(
                total=self._settings.fetch_timeout, connect=_CONNECT_TIMEOUT
            ),
            headers={"user-agent": "deepgram-emulator"},
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str) -> audio.Audio:
        """Return the media at the URL, or raise Refused with REMOTE_CONTENT_ERROR."""
        cached = self._find_cached(url)
        if cached is not None:
            return cached
        address = await self._check(url)
        try:
            found = await self._download(address)
        except aiohttp.TooManyRedirects:
            raise refusals.Refused(refusals.REMOTE_REDIRECTS) from None
        except aiohttp.ClientConnectorDNSError:
            raise refusals.Refused(refusals.REMOTE_UNRESOLVED) from None
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            raise refusals.Refused(refusals.REMOTE_INVALID) from None
        self._cache_media(url, found)
        return found

    async def _check(self, url: str) -> yarl.URL:
        try:
            # A signed URL must reach the server byte for byte.
            address = yarl.URL(url, encoded=url.isascii() and " " not in url)
        except ValueError:
            raise refusals.Refused(refusals.REMOTE_INVALID) from None
        if address.scheme not in {"http", "https"} or not address.host:
            raise refusals.Refused(refusals.REMOTE_INVALID)
        if self._settings.strict_urls and not await _is_public(address.host):
            raise refusals.Refused(refusals.REMOTE_NOT_PUBLIC)
        return address

    async def _download(self, address: yarl.URL) -> audio.Audio:
        if self._session is None:
            raise RuntimeError("The fetcher is not started.")
        async with self._session.get(address, max_redirects=MAX_REDIRECTS) as response:
            if response.status != http.HTTPStatus.OK:
                raise refusals.remote_status(response.status, response.reason or "")
            if response.content_type in _PAGES:
                raise refusals.Refused(refusals.REMOTE_INVALID)
            return await _collect(response.content.iter_any(), self._settings)

    def _find_cached(self, url: str) -> audio.Audio | None:
        expires_at, cached = self._cache.get(url, (0.0, None))
        return cached if expires_at > time.monotonic() else None

    def _cache_media(self, url: str, found: audio.Audio) -> None:
        seconds = self._settings.fetch_cache_seconds
        if not seconds or isinstance(found.content, Path):
            return
        self._cache[url] = (time.monotonic() + seconds, found)
        self._cache.move_to_end(url)
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)


async def _collect(
    chunks: AsyncIterator[bytes], settings: config.Config
) -> audio.Audio:
    spool = _open_spool(settings)
    try:
        async for chunk in chunks:
            spool.write(chunk)
    except BaseException:
        spool.discard()
        raise
    return spool.finish()


def _open_spool(settings: config.Config) -> audio.Spool:
    return audio.Spool(
        directory=settings.temporary_directory, limit_bytes=settings.max_body_bytes
    )


async def _is_public(host: str) -> bool:
    """Return whether every address of the host is publicly routable."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None)
    except OSError:
        raise refusals.Refused(refusals.REMOTE_UNRESOLVED) from None
    addresses = {ipaddress.ip_address(entry[4][0]) for entry in found}
    return bool(addresses) and all(address.is_global for address in addresses)
