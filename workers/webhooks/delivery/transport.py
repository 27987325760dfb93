"""The POST to a customer's URL: addresses checked, time and size limited, no redirects.

Uses the transport without ``httpx.Client``, so that no cookies are shared between
customers, no redirects followed, and no proxy or netrc read from the environment.
"""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from threading import Lock

import h11
import httpx
from django.conf import settings

from jobs.egress import policy as egress_policy
from jobs.egress.addresses import EgressAllow, EgressProxy
from jobs.errors import InvalidRequest
from workers.egress import network, tunnel
from workers.webhooks.delivery.schedule import TIMED_OUT, PostResult

logger = logging.getLogger(__name__)

HEADERS = {
    "accept": "*/*",
    "accept-encoding": "identity",  # the body is read raw, without decompression
    "content-type": "application/json",
    "user-agent": "transcription-platform-webhooks/1",
}
MAX_RAW_BYTES = 64 * 1024
MAX_EXCERPT_BYTES = 8 * 1024
MAX_CONNECTIONS = 200  # more than a process has threads
INSTANT_RETRY_SECONDS = 1.0
NOT_ALLOWED = network.DestinationNotAllowed.code


def post(
    url: str, *, headers: Mapping[str, str], body: bytes, method: str = "POST"
) -> PostResult:
    """Send the message and return the result; never raises for the receiver's errors.

    A reused connection that closes at once without a response had most likely expired
    at the receiver: the request is repeated once, within the same time limit.
    """
    started = time.monotonic()
    try:
        # The URL may have been stored under an older rule or allow-list.
        egress_policy.check_webhook_url(url)
        with network.deadline(settings.WEBHOOK_TIMEOUT_SECONDS):
            request = _build_request(method, url, headers, body)
            result = _exchange(request, started)
    except InvalidRequest as error:
        is_invalid = error.code == "url_invalid"
        return PostResult(error=error.code if is_invalid else NOT_ALLOWED)
    except network.DestinationNotAllowed:
        # No duration: it would distinguish a closed port from a filtered one.
        return PostResult(error=NOT_ALLOWED)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return PostResult(error=_name_error(error), duration_ms=_elapsed_ms(started))
    return result


def close() -> None:
    """Close pooled connections; the next POST opens new ones."""
    if _transport.cache_info().currsize:
        _transport(egress_policy.get_allowlist(), egress_policy.get_proxy()).close()
    _transport.cache_clear()


# Building a transport takes 30 ms of CPU: a hundred starting threads build one.
_transport_lock = Lock()


@lru_cache(maxsize=1)
def _transport(guard: EgressAllow, proxy: EgressProxy | None) -> httpx.HTTPTransport:
    """Return the process's transport, built at first use and so after a fork."""
    return network.build_transport(
        guard=guard, proxy=proxy, max_connections=MAX_CONNECTIONS
    )


def _exchange(request: httpx.Request, started: float) -> PostResult:
    try:
        return _send(request, started)
    except httpx.TransportError as error:
        is_instant = _elapsed_ms(started) <= INSTANT_RETRY_SECONDS * 1000
        if not (_closed_silently(error) and is_instant):
            raise
    return _send(request, started)


def _build_request(
    method: str, url: str, headers: Mapping[str, str], body: bytes
) -> httpx.Request:
    limit = settings.WEBHOOK_TIMEOUT_SECONDS
    timeout = {
        "connect": network.CONNECT_SECONDS,
        "read": limit,
        "write": limit,
        "pool": limit,
    }
    return httpx.Request(
        method,
        url,
        headers={**HEADERS, **headers},
        content=body,
        extensions={"timeout": timeout},
    )


def _send(request: httpx.Request, started: float) -> PostResult:
    """Send once; a status line that arrived is the result, whatever follows it."""
    with network.watch_status() as line:
        try:
            return _receive(request, started)
        except httpx.TransportError:
            if line.status is None:
                raise
            return PostResult(status_code=line.status, duration_ms=_elapsed_ms(started))


def _receive(request: httpx.Request, started: float) -> PostResult:
    with _transport_lock:
        transport = _transport(egress_policy.get_allowlist(), egress_policy.get_proxy())
    response = transport.handle_request(request)
    try:
        raw = _read_excerpt(response)
    finally:
        response.close()
    return PostResult(
        status_code=response.status_code,
        retry_after=response.headers.get("retry-after", ""),
        instruction=response.headers.get("webhook-delivery", ""),
        excerpt=format_excerpt(raw),
        duration_ms=_elapsed_ms(started),
    )


def _read_excerpt(response: httpx.Response) -> bytes:
    """Read up to MAX_RAW_BYTES; an error in the body does not change the result."""
    raw = bytearray()
    with suppress(httpx.TransportError):
        for chunk in response.iter_raw():
            raw += chunk
            if len(raw) >= MAX_RAW_BYTES:
                break
    return bytes(raw)


def format_excerpt(raw: bytes) -> str:
    """Return the start of a response as text that PostgreSQL accepts (no NUL)."""
    text = raw[:MAX_EXCERPT_BYTES].decode(errors="replace").replace("\0", "")
    # A replacement character is longer than the byte it replaces.
    return text.encode()[:MAX_EXCERPT_BYTES].decode(errors="ignore")


def _closed_silently(error: httpx.TransportError) -> bool:
    """Return whether the connection closed without a response (not: invalid HTTP).

    httpcore raises RemoteProtocolError for both; its cause tells them apart.
    https://github.com/encode/httpcore/blob/1.0.9/httpcore/_sync/http11.py#L207-L233
    """
    if isinstance(error, httpx.RemoteProtocolError):
        causes = error.__cause__.args if error.__cause__ else ()
        return not any(isinstance(cause, h11.RemoteProtocolError) for cause in causes)
    return isinstance(error, (httpx.ReadError, httpx.WriteError))


def _name_error(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(error, httpx.TimeoutException):
        return TIMED_OUT
    if isinstance(cause, network.NameNotResolved):
        return "name_not_resolved"
    if isinstance(cause, tunnel.ProxyFailed):
        logger.error("The egress proxy failed", extra={"error": str(cause)})
        return "egress_proxy_failed"
    if isinstance(cause, network.TlsFailed):
        return "tls_failed"
    if isinstance(error, httpx.TransportError) and _closed_silently(error):
        return "connection_lost"
    names: dict[type[Exception], str] = {
        httpx.InvalidURL: "url_invalid",
        httpx.UnsupportedProtocol: "url_invalid",
        httpx.ConnectError: "connect_failed",
        httpx.RemoteProtocolError: "bad_response",
    }
    return next(
        (name for kind, name in names.items() if isinstance(error, kind)),
        "request_failed",
    )


def _elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
