"""The POST to a customer's URL: guarded, limited in time and size, never redirected.

The transport is used without ``httpx.Client``: no cookies kept from one customer for
another, no redirects to follow, no proxy or password taken from the environment.
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
    "accept-encoding": "identity",  # raw bytes are read: nothing to inflate
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
    """Send the message once and return what came of it; never raises for the peer.

    A connection that dies at once without an answer was most likely kept alive too
    long: it is tried again, within the same time limit.
    """
    started = time.monotonic()
    try:
        # The row may be older than the rule, or than what the operator allows.
        egress_policy.check_webhook_url(url)
        with network.deadline(settings.WEBHOOK_TIMEOUT_SECONDS):
            request = _build_request(method, url, headers, body)
            answer = _exchange(request, started)
    except InvalidRequest as refusal:
        invalid = refusal.code == "url_invalid"
        return PostResult(error=refusal.code if invalid else NOT_ALLOWED)
    except network.DestinationNotAllowed:
        # No duration: it would tell a closed port from a filtered one.
        return PostResult(error=NOT_ALLOWED)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return PostResult(error=_name_error(error), duration_ms=_since(started))
    return answer


def close() -> None:
    """Close the kept connections; the next POST opens new ones."""
    if _transport.cache_info().currsize:
        _transport(egress_policy.get_allowlist(), egress_policy.get_proxy()).close()
    _transport.cache_clear()


# A hundred threads starting together shall make one, at 30 ms of CPU.
_making = Lock()


@lru_cache(maxsize=1)
def _transport(guard: EgressAllow, proxy: EgressProxy | None) -> httpx.HTTPTransport:
    """Return this process's transport; made at first use, so after a fork."""
    return network.build_transport(
        guard=guard, proxy=proxy, max_connections=MAX_CONNECTIONS
    )


def _exchange(request: httpx.Request, started: float) -> PostResult:
    try:
        return _send(request, started)
    except httpx.TransportError as error:
        if not _died_silently(error) or _since(started) > INSTANT_RETRY_SECONDS * 1000:
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
    with _making:
        transport = _transport(egress_policy.get_allowlist(), egress_policy.get_proxy())
    response = transport.handle_request(request)
    try:
        raw = _read_some(response)
    finally:
        response.close()
    return PostResult(
        status_code=response.status_code,
        retry_after=response.headers.get("retry-after", ""),
        instruction=response.headers.get("webhook-delivery", ""),
        excerpt=format_excerpt(raw),
        duration_ms=_since(started),
    )


def _read_some(response: httpx.Response) -> bytes:
    """Read up to the limit; the status stands whatever becomes of the body."""
    raw = bytearray()
    with suppress(httpx.TransportError):
        for chunk in response.iter_raw():
            raw += chunk
            if len(raw) >= MAX_RAW_BYTES:
                break
    return bytes(raw)


def format_excerpt(raw: bytes) -> str:
    """Return the start of an answer as text that a database column can hold."""
    text = raw[:MAX_EXCERPT_BYTES].decode(errors="replace").replace("\0", "")
    # Replacement characters are longer than what they replace.
    return text.encode()[:MAX_EXCERPT_BYTES].decode(errors="ignore")


def _died_silently(error: httpx.TransportError) -> bool:
    """Tell a connection that closed without an answer from an answer not HTTP."""
    if isinstance(error, httpx.RemoteProtocolError):
        reasons = error.__cause__.args if error.__cause__ else ()
        return not any(isinstance(each, h11.RemoteProtocolError) for each in reasons)
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
    if isinstance(error, httpx.TransportError) and _died_silently(error):
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


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
