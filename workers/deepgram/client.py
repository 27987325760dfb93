"""One Deepgram client per process and region, on our deadline-keeping transport.

The SDK does keys, URLs, options and errors. What it does badly is taken from it:
retries (they resend a consumed upload as nothing), timeouts (none is total) and typed
answers (11 µs a word for objects nobody reads): the transport keeps the raw bytes and
hands the SDK an empty document.
"""

import threading
from contextvars import ContextVar

import httpx
from deepgram import DeepgramClient, DeepgramClientEnvironment
from django.conf import settings

from jobs.models import Region
from workers.egress import network

MAX_CONNECTIONS = 200
# Longer than this and the server may close a socket that we are about to use.
KEEPALIVE_SECONDS = 3.0
CONNECT_SECONDS = 5.0
# Deepgram answers after all its work: one read may last as long as the call.
READ_SECONDS = 1260.0
WRITE_SECONDS = 60.0

_answer: ContextVar[httpx.Response | None] = ContextVar("answer", default=None)


class CapturingTransport(httpx.BaseTransport):
    """Keep a successful answer's bytes aside, out of the SDK's typed parsing."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Read the whole answer; pass on an empty document in place of a result."""
        answer = self._inner.handle_request(request)
        answer.request = request
        try:
            answer.read()
        finally:
            answer.close()
        if answer.status_code != httpx.codes.OK:
            return answer
        _answer.set(answer)
        return httpx.Response(200, json={}, request=request)

    def close(self) -> None:
        """Close the pool."""
        self._inner.close()


def take_answer() -> httpx.Response | None:
    """Return this thread's last successful answer, once."""
    answer = _answer.get()
    _answer.set(None)
    return answer


_clients: dict[tuple[str, str], DeepgramClient] = {}
_lock = threading.Lock()


def get_region_client(region: Region) -> DeepgramClient:
    """Return this process's client for a region, with the key its row names."""
    api_key = str(getattr(settings, region.key_setting, ""))
    return get_client(base_url=region.base_url, api_key=api_key)


def warm_up(region: Region) -> None:
    """Load what the SDK loads on first use."""
    _ = get_region_client(region).listen.v1.media


def get_client(*, base_url: str, api_key: str) -> DeepgramClient:
    """Return this process's client for an upstream; made at first use, after a fork.

    A client costs 40 ms of CPU (its TLS context) and is safe to share by threads.
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
    return DeepgramClient(
        # Without a key the SDK refuses to be made; Deepgram says 401 more clearly.
        api_key=api_key or "missing",
        environment=environment,
        httpx_client=http,
        max_retries=0,
        follow_redirects=False,
    )
