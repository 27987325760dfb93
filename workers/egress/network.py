"""The network backend of all outgoing HTTP calls, with a total deadline per call.

HTTP clients limit each read and write, so a peer that sends one byte per second blocks
a thread forever, and threads cannot be interrupted. Here connect, TLS and every read
and write get only the rest of the call's deadline. With a guard, connections are
limited to allowed addresses, checked at connect time (after DNS).

Redirects, size limits and retries are the caller's.
"""

import errno
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import Any

import httpcore
import httpx

from jobs.egress import addresses
from jobs.egress.addresses import EgressAllow, EgressProxy, IPAddress
from jobs.errors import PlatformError
from workers.egress import tunnel
from workers.egress.pool import Pool
from workers.egress.status_line import StatusLine

CONNECT_SECONDS = 5.0
DNS_SECONDS = 5.0
# Small enough that one TLS write ends soon, large enough to add no overhead.
CHUNK_BYTES = 256 * 1024
# Limits the attempts for a name with a hundred dead addresses.
MAX_ADDRESSES_TRIED = 4
# getaddrinfo cannot be interrupted: an abandoned lookup lasts up to half a minute.
MAX_LOOKUPS = 256
# Errors of an address without a route; the name may have others with one.
UNREACHABLE_ERRNOS = {
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
}

SocketOption = (
    tuple[int, int, int]
    | tuple[int, int, bytes | bytearray]
    | tuple[int, int, None, int]
)


class DestinationNotAllowed(PlatformError):
    """This destination is not allowed."""

    # No details in the message: an address would reveal the internal network.
    code = "destination_not_allowed"


class NameNotResolved(httpcore.ConnectError):
    """The host name has no address; raised as the cause of httpx.ConnectError."""


class TlsFailed(httpcore.ConnectError):
    """The TLS handshake failed; raised as the cause of httpx.ConnectError."""


class DeadlineExceeded(httpx.TimeoutException):
    """The call took longer than its total deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A deadline on the monotonic clock, in seconds."""

    at: float

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.at - time.monotonic()


_current: ContextVar[Deadline | None] = ContextVar("network_deadline", default=None)
_status: ContextVar[StatusLine | None] = ContextVar("network_status", default=None)


@contextmanager
def watch_status() -> Iterator[StatusLine]:
    """Read the status line of this thread's calls inside the block.

    It is known even if the rest of the response is not valid HTTP or never arrives.
    """
    line = StatusLine()
    token = _status.set(line)
    try:
        yield line
    finally:
        _status.reset(token)


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Limit the total time of this thread's network calls inside the block.

    After the deadline, calls raise httpx's timeouts, which the block converts to
    DeadlineExceeded. A timeout before the deadline is not converted. A nested block
    cannot extend the outer deadline.
    """
    outer = _current.get()
    at = time.monotonic() + seconds
    limit = Deadline(at=at if outer is None else min(at, outer.at))
    token = _current.set(limit)
    try:
        yield limit
    except httpx.TimeoutException as error:
        if limit.left > 0:
            raise
        raise DeadlineExceeded(str(error)) from error
    finally:
        _current.reset(token)


def build_transport(
    *,
    guard: EgressAllow | None,
    proxy: EgressProxy | None = None,
    max_connections: int,
    keepalive_expiry: float = 3,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx.HTTPTransport:
    """Return a transport for ``httpx.Client`` whose calls obey `deadline`.

    With a guard, only public addresses and the guard's allow-list are reachable; others
    raise DestinationNotAllowed before a packet is sent. With a proxy, which resolves
    and checks names itself, only the allow-list is reached directly. Proxy environment
    variables are ignored.
    """
    context = ssl_context or httpx.create_ssl_context(trust_env=False)
    transport = _Transport(verify=context, trust_env=False)
    # httpx cannot pass a network backend to httpcore's pool; a test covers this patch.
    # https://github.com/encode/httpx/pull/3749
    # https://github.com/encode/httpx/blob/0.28.1/httpx/_transports/default.py#L156
    transport._pool = Pool(  # noqa: SLF001
        ssl_context=context,
        max_connections=max_connections,
        keepalive_expiry=keepalive_expiry,
        network_backend=_Backend(guard, proxy),
    )
    return transport


class _Transport(httpx.HTTPTransport):
    """Counts the wait for a free connection towards the deadline."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions.get("timeout", {})
        pool = _time_left(timeouts.get("pool"), httpx.PoolTimeout)
        request.extensions["timeout"] = {**timeouts, "pool": pool}
        return super().handle_request(request)


class _Stream(httpcore.NetworkStream):
    """A connection whose operations obey the deadline of the current call."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._inner.read(max_bytes, _time_left(timeout, httpcore.ReadTimeout))
        if line := _status.get():
            line.feed(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # httpcore's loop applies the full timeout to each part of a large buffer.
        # https://github.com/encode/httpcore/blob/1.0.9/httpcore/_backends/sync.py#L130-L138
        if line := _status.get():
            line.reset()  # what was read before is no response to this request
        sock: socket.socket = self._inner.get_extra_info("socket")
        rest = memoryview(buffer)
        try:
            while rest:
                sock.settimeout(_time_left(timeout, httpcore.WriteTimeout))
                rest = rest[sock.send(rest[:CHUNK_BYTES]) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(error) from error
        except OSError as error:
            raise httpcore.WriteError(error) from error

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _time_left(timeout, httpcore.ConnectTimeout)
        try:
            inner = self._inner.start_tls(ssl_context, server_hostname, left)
        except httpcore.ConnectError as error:
            raise TlsFailed(error) from error
        return _Stream(inner)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Resolves the name, checks the addresses and connects to one of them.

    The name is still used for Host, SNI and certificate verification.
    """

    def __init__(
        self, guard: EgressAllow | None, proxy: EgressProxy | None = None
    ) -> None:
        self._guard = guard
        self._proxy = proxy
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002  the pool sets neither
        socket_options: Iterable[SocketOption] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        seconds = CONNECT_SECONDS if timeout is None else timeout
        if self._proxy is None or self._is_listed(host, port):
            return self._connect(self._find_addresses(host, port), port, seconds)
        return self._tunnel(self._proxy, host, port, seconds)

    def _is_listed(self, host: str, port: int) -> bool:
        return self._guard is not None and self._guard.allows_host(host, port)

    def _connect(
        self, found: Sequence[str], port: int, seconds: float
    ) -> httpcore.NetworkStream:
        found = found[:MAX_ADDRESSES_TRIED]
        with deadline(seconds) as limit:
            for index, address in enumerate(found, start=1):
                # An unresponsive first address must leave time for the others.
                share = max(limit.left, 0) / (len(found) - index + 1)
                left = _time_left(share, httpcore.ConnectTimeout)
                try:
                    return _Stream(self._inner.connect_tcp(address, port, left))
                except (httpcore.ConnectError, httpcore.ConnectTimeout):
                    if index == len(found):
                        raise
        raise NameNotResolved

    def _tunnel(
        self, proxy: EgressProxy, host: str, port: int, seconds: float
    ) -> httpcore.NetworkStream:
        if self._guard is not None and _is_literal(host):
            check_addresses([host], port, self._guard)
        # Time for the proxy's name lookup and for its connect.
        with deadline(DNS_SECONDS + seconds):
            try:
                found = [proxy.host]
                if not _is_literal(proxy.host):
                    found = _resolve(proxy.host, proxy.port)
                stream = self._connect(found, proxy.port, seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                raise tunnel.ProxyFailed(error) from error
            try:
                _check_status(tunnel.open_tunnel(stream, host=host, port=port))
            except BaseException:
                stream.close()
                raise
            finally:
                if line := _status.get():
                    line.reset()  # that was the proxy's
        return stream

    def _find_addresses(self, host: str, port: int) -> list[str]:
        guard = self._guard
        is_trusted = guard is None or self._is_listed(host, port)
        if _is_literal(host):
            found = [host]
        else:
            # The final dot disables the search domains of resolv.conf.
            found = _resolve(host if is_trusted else f"{host.rstrip('.')}.", port)
        if guard is not None and not is_trusted:
            check_addresses(found, port, guard)
        return found


def _check_status(status: int) -> None:
    """Raise the error that a proxy's status other than 2xx means.

    Smokescreen rejects a destination with 407, other proxies with 403.
    """
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}:
        raise DestinationNotAllowed
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise httpcore.ConnectError("the proxy could not connect")
    raise tunnel.ProxyFailed(f"the proxy answered {status}")


def check_addresses(found: Iterable[str], port: int, guard: EgressAllow) -> None:
    """Raise DestinationNotAllowed if any address of a name is internal.

    One internal address rejects the name, because the next attempt could use it.
    """
    for address in map(ip_address, found):
        is_outside = addresses.is_public(address) and not _is_own(address)
        if not (is_outside or guard.allows_ip(address, port)):
            raise DestinationNotAllowed


def _is_own(address: IPAddress) -> bool:
    """Return whether the address belongs to this machine, and so is internal.

    Connecting a UDP socket sends nothing; the kernel selects the source address, which
    equals the target for the machine's own addresses.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError as error:
        return error.errno not in UNREACHABLE_ERRNOS


def _time_left(timeout: float | None, error: type[Exception]) -> float | None:
    """Return the timeout of one operation; raise ``error`` after the deadline."""
    limit = _current.get()
    if limit is None:
        return timeout
    left = limit.left
    if left <= 0:
        raise error("the total deadline has passed")
    return left if timeout is None else min(timeout, left)


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


_lookups = BoundedSemaphore(MAX_LOOKUPS)
_Lookup = list[str] | OSError | UnicodeError


def _resolve(name: str, port: int) -> list[str]:
    """Return the addresses of a name within the deadline."""
    with deadline(DNS_SECONDS) as limit:
        if not _lookups.acquire(timeout=max(limit.left, 0)):
            raise httpcore.ConnectTimeout("too many unfinished name lookups")
        results: SimpleQueue[_Lookup] = SimpleQueue()
        # A daemon thread does not delay the process's exit.
        Thread(target=_look_up, args=(name, port, results), daemon=True).start()
        try:
            result = results.get(timeout=max(limit.left, 0))
        except Empty:
            raise httpcore.ConnectTimeout("the name lookup timed out") from None
    if not isinstance(result, list):
        raise NameNotResolved(name) from result
    return result


def _look_up(name: str, port: int, results: SimpleQueue[_Lookup]) -> None:
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        results.put(list(dict.fromkeys(str(row[4][0]) for row in found)))
    except (OSError, UnicodeError) as error:
        results.put(error)
    finally:
        _lookups.release()
