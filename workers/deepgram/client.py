"""One Deepgram SDK client per process and region, with a transport that has deadlines.

The SDK handles keys, URLs, options and errors. Replaced are its retries (they resend a
consumed upload as an empty body), its timeouts (none limits the whole call) and its
typed responses (11 µs per word for unused objects): the transport stores the raw
response and passes the SDK an empty document.
"""

import threading
from contextvars import ContextVar
from functools import cache

import httpx
from deepgram import DeepgramClient, DeepgramClientEnvironment
from django.conf import settings

from jobs.models import Region
from workers.egress import network

MAX_CONNECTIONS = 200
# Below the server's keep-alive timeout, so that it does not close a reused connection.
KEEPALIVE_SECONDS = 3.0
CONNECT_SECONDS = 5.0
# Deepgram responds at the end of its work: one read can last as long as the call.
READ_SECONDS = 1260.0
WRITE_SECONDS = 60.0

_response: ContextVar[httpx.Response | None] = ContextVar("response", default=None)


class CapturingTransport(httpx.BaseTransport):
    """Stores a successful response and bypasses the SDK's typed parsing."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Read the whole response; return an empty document in place of a result."""
        response = self._inner.handle_request(request)
        response.request = request
        try:
            response.read()
        finally:
            response.close()
        if response.status_code != httpx.codes.OK:
            return response
        _response.set(response)
        return httpx.Response(200, json={}, request=request)

    def close(self) -> None:
        """Close the connection pool."""
        self._inner.close()


def pop_response() -> httpx.Response | None:
    """Return this thread's last successful response and clear it."""
    response = _response.get()
    _response.set(None)
    return response


_clients: dict[tuple[str, str], DeepgramClient] = {}
_lock = threading.Lock()


def get_region_client(region: Region) -> DeepgramClient:
    """Return the process's client for a region, with the key of its ``key_setting``."""
    api_key = str(getattr(settings, region.key_setting, ""))
    return get_client(base_url=region.base_url, api_key=api_key)


def warm_up(region: Region) -> None:
    """Import the SDK modules that are loaded on first use."""
    _ = get_region_client(region).listen.v1.media


def get_client(*, base_url: str, api_key: str) -> DeepgramClient:
    """Return the process's client for a URL and key, created on first use.

    A client takes 40 ms of CPU (its TLS context) and is thread-safe.
    """
    with _lock:
        client = _clients.get((base_url, api_key))
        if client is None:
            client = _clients[base_url, api_key] = _build(base_url, api_key)
    return client


def _build(base_url: str, api_key: str) -> DeepgramClient:
    transport = network.build_transport(
        guard=None,
        max_connections=MAX_CONNECTIONS,
        keepalive_expiry=KEEPALIVE_SECONDS,
    )
    http = httpx.Client(
        transport=CapturingTransport(transport),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(
            connect=CONNECT_SECONDS,
            read=READ_SECONDS,
            write=WRITE_SECONDS,
            pool=CONNECT_SECONDS,
        ),
    )
    socket_url = base_url.replace("http", "ws", 1)
    environment = DeepgramClientEnvironment(
        base=base_url, production=socket_url, agent=socket_url, agent_rest=base_url
    )
    client = DeepgramClient(
        # The SDK raises without a key; Deepgram's 401 is the clearer error.
        api_key=api_key or "missing",
        environment=environment,
        httpx_client=http,
        max_retries=0,
        follow_redirects=False,
    )
    _cache_headers(client)
    return client


def _cache_headers(client: DeepgramClient) -> None:
    """Build the SDK's headers once; it reads its package's metadata for each call.

    https://github.com/deepgram/deepgram-python-sdk/blob/v7.17.0/src/deepgram/core/client_wrapper.py
    """
    http = client._client_wrapper.httpx_client  # noqa: SLF001
    http.base_headers = cache(http.base_headers)
