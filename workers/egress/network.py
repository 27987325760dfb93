"""One network backend for every HTTP call we make, with a total time limit.

HTTP clients limit each read and write, so a peer that sends one byte a second holds a
thread for ever; threads cannot be interrupted. Here connect, TLS and every read and
write get what is left of the whole call. With the guard, it also connects only to
addresses that a customer's URL may reach, checked at the moment of connecting.

Nothing here knows HTTP: redirects, size limits and retries are the caller's.
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

CONNECT_SECONDS = 5.0
DNS_SECONDS = 5.0
# Small enough that one TLS write ends soon, large enough to cost nothing.
PIECE_BYTES = 256 * 1024
# A name with a hundred dead addresses must not get a hundred tries.
MAX_ADDRESSES_TRIED = 4
# getaddrinfo cannot be interrupted: a look-up given up on lingers up to half a minute.
MAX_LOOKUPS = 256
# Such an address cannot be connected to, and may stand beside one that can.
NO_WAY_THERE = {
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

    # Nothing more in the message: an address would tell what is inside.
    code = "destination_not_allowed"


class NameNotResolved(httpcore.ConnectError):
    """The host name has no address; arrives as the cause of httpx.ConnectError."""


class TlsFailed(httpcore.ConnectError):
    """The TLS handshake failed; arrives as the cause of httpx.ConnectError."""


class DeadlineExceeded(httpx.TimeoutException):
    """The call as a whole took longer than its deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment, on the monotonic clock, after which nothing is waited for."""

    at: float

    @property
    def left(self) -> float:
        """Seconds until then; negative afterwards."""
        return self.at - time.monotonic()


_current: ContextVar[Deadline | None] = ContextVar("network_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Limit all the network calls of this thread inside the block, taken together.

    Past it the calls raise httpx's usual timeouts (ReadTimeout and so on); on its way
    out of the block such an error becomes DeadlineExceeded. A timeout of one read alone
    stays what it is. A block inside another cannot outlast it.
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

    With a guard only public addresses and what it lists are connected to; any other
    raises DestinationNotAllowed before a packet is sent. With a proxy, which then
    resolves and checks the names, all but what the guard lists goes through it.
    The environment's proxies are never used.
    """
    context = ssl_context or httpx.create_ssl_context(trust_env=False)
    transport = _Transport(verify=context, trust_env=False)
    # httpx has no parameter for the network backend, httpcore has.
    # https://github.com/encode/httpx/blob/0.28.1/httpx/_transports/default.py#L156
    transport._pool = Pool(  # noqa: SLF001  covered by a test
        ssl_context=context,
        max_connections=max_connections,
        keepalive_expiry=keepalive_expiry,
        network_backend=_Backend(guard, proxy),
    )
    return transport


class _Transport(httpx.HTTPTransport):
    """The wait for a free connection counts as well."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions.get("timeout", {})
        pool = _time_left(timeouts.get("pool"), httpx.PoolTimeout)
        request.extensions["timeout"] = {**timeouts, "pool": pool}
        return super().handle_request(request)


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation ends at the deadline of who uses it now."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _time_left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # httpcore's own loop gives each part of a large buffer the full time again.
        sock: socket.socket = self._inner.get_extra_info("socket")
        rest = memoryview(buffer)
        try:
            while rest:
                sock.settimeout(_time_left(timeout, httpcore.WriteTimeout))
                rest = rest[sock.send(rest[:PIECE_BYTES]) :]
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
    """Resolves, checks and connects; the name stays for Host, SNI and certificate."""

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
        local_address: str | None = None,  # noqa: ARG002  the pool is given neither
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
                # A silent first address must leave time for the others.
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
        # The proxy looks the name up and connects, each within its own time.
        with deadline(DNS_SECONDS + seconds):
            try:
                found = [proxy.host]
                if not _is_literal(proxy.host):
                    found = _resolve(proxy.host, proxy.port)
                stream = self._connect(found, proxy.port, seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                raise tunnel.ProxyFailed(error) from error
            try:
                _check_opened(tunnel.ask(stream, host=host, port=port))
            except BaseException:
                stream.close()
                raise
        return stream

    def _find_addresses(self, host: str, port: int) -> list[str]:
        guard = self._guard
        trusted = guard is None or self._is_listed(host, port)
        if _is_literal(host):
            found = [host]
        else:
            # The final dot keeps the machine's search domains out of it.
            found = _resolve(host if trusted else f"{host.rstrip('.')}.", port)
        if guard is not None and not trusted:
            check_addresses(found, port, guard)
        return found


def _check_opened(status: int) -> None:
    """Raise what a proxy's answer other than 2xx means.

    Smokescreen refuses with 407, others with 403; neither says why, nor do we.
    """
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}:
        raise DestinationNotAllowed
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise httpcore.ConnectError("the proxy could not connect")
    raise tunnel.ProxyFailed(f"the proxy answered {status}")


def check_addresses(found: Iterable[str], port: int, guard: EgressAllow) -> None:
    """Raise DestinationNotAllowed if any of a name's addresses leads inside.

    One bad address rejects the name: another try would use it.
    """
    for address in map(ip_address, found):
        is_outside = addresses.is_public(address) and not _is_own(address)
        if not (is_outside or guard.allows_ip(address, port)):
            raise DestinationNotAllowed


def _is_own(address: IPAddress) -> bool:
    """Tell whether this machine has the address: what listens there is inside.

    From its own address a machine speaks to itself; choosing it sends nothing.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError as error:
        return error.errno not in NO_WAY_THERE


def _time_left(timeout: float | None, error: type[Exception]) -> float | None:
    """Return how long one operation may take; raise ``error`` if there is no time."""
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
_Answer = list[str] | OSError | UnicodeError


def _resolve(name: str, port: int) -> list[str]:
    """Return the addresses of a name, waiting no longer than the deadline."""
    with deadline(DNS_SECONDS) as limit:
        if not _lookups.acquire(timeout=max(limit.left, 0)):
            raise httpcore.ConnectTimeout("too many name look-ups are hanging")
        answers: SimpleQueue[_Answer] = SimpleQueue()
        # A daemon: the process may end while the resolver still waits.
        Thread(target=_look_up, args=(name, port, answers), daemon=True).start()
        try:
            answer = answers.get(timeout=max(limit.left, 0))
        except Empty:
            raise httpcore.ConnectTimeout("the name look-up timed out") from None
    if not isinstance(answer, list):
        raise NameNotResolved(name) from answer
    return answer


def _look_up(name: str, port: int, answers: SimpleQueue[_Answer]) -> None:
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        answers.put(list(dict.fromkeys(str(row[4][0]) for row in found)))
    except (OSError, UnicodeError) as error:
        answers.put(error)
    finally:
        _lookups.release()
