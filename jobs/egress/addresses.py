"""Rules for customers' URLs: which hosts and addresses they may point to.

Pure: no name resolution, no sockets. Applied twice: to the text of a URL when it is
submitted, and to each resolved address when connecting.
"""

import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Self

from jobs.errors import InvalidRequest

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# Presigned URLs with a session token of a federated role have up to 4,000 characters.
MAX_URL_LENGTH = 8192
WEB_PORTS = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
_MAX_NAME = 253

_TABLE = tomllib.loads(Path(__file__).with_name("blocked.toml").read_text("utf-8"))
_BLOCKED_V4 = tuple(map(IPv4Network, _TABLE["ipv4"]))
_BLOCKED_V6 = tuple(map(IPv6Network, _TABLE["ipv6"]))
_GLOBAL_V6 = IPv6Network("2000::/3")
_PRIVATE_SUFFIXES = tuple(_TABLE["names"])

# Stricter than any URL parser, so that no two parsers can disagree on the host: no
# userinfo, no backslash, no escapes in the host, no fragment.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?][!-\[\]-~]*)?"
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# ``inet_aton`` parses such a label as a number, so the name is a disguised address.
_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Origin of a URL; the host is lower case, without brackets and trailing dot."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressAllow:
    """The operator's exceptions: internal hosts and networks that URLs may reach."""

    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[IPNetwork, int | None], ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Parse ``host``, ``host:port`` and CIDR entries; raise ValueError."""
        names: set[tuple[str, int | None]] = set()
        networks: list[tuple[IPNetwork, int | None]] = []
        for entry in entries:
            host, port = _split_entry(entry)
            if network := _network(host):
                networks.append((network, port))
            elif "/" not in host and _is_name(host):
                names.add((host, port))
            else:
                message = f"{entry!r} is not a host, host:port or CIDR block"
                raise ValueError(message)
        return cls(names=frozenset(names), networks=tuple(networks))

    def allows_host(self, host: str, port: int) -> bool:
        """Return whether a host, name or IP literal, is listed for this port."""
        host = _normalize(host)
        if not self.names.isdisjoint({(host, None), (host, port)}):
            return True
        ip = _literal(host)
        return ip is not None and self.allows_ip(ip, port)

    def allows_ip(self, ip: IPAddress, port: int) -> bool:
        """Return whether an address is in a network listed for this port."""
        ip = _unmapped(ip)
        return any(
            ip.version == network.version and ip in network and listed in {None, port}
            for network, listed in self.networks
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressProxy:
    """Address of the operator's HTTP proxy for customers' URLs."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Self | None:
        """Parse ``http://host:port``; None for an empty text; raise ValueError."""
        if not url:
            return None
        origin = _parse(url.removesuffix("/"))
        host, _, port = url.removesuffix("/").removeprefix("http://").rpartition(":")
        if (
            origin is None
            or _normalize(host) != origin.host
            or port != str(origin.port)
        ):
            raise ValueError(
                "an egress proxy is http://host:port, without a password or path"
            )
        return cls(host=origin.host, port=origin.port)


def is_public(ip: IPAddress) -> bool:
    """Return whether an address is public, that is, reachable from the Internet."""
    ip = _unmapped(ip)
    if isinstance(ip, IPv4Address):
        return not any(ip in block for block in _BLOCKED_V4)
    if ip.scope_id is not None:
        return False
    return ip in _GLOBAL_V6 and not any(ip in block for block in _BLOCKED_V6)


def check_url(
    url: str, *, allow: EgressAllow, schemes: Collection[str], pointer: str = ""
) -> Origin:
    """Return the URL's origin; raise InvalidRequest if it is malformed or not allowed.

    All refused hosts get the same message, so that it reveals nothing about internal
    networks. Hosts in ``allow`` may use any port and plain ``http``.
    """
    origin = _parse(url)
    if origin is None:
        message = "Invalid URL: use scheme://host[:port]/path, ASCII only."
        raise InvalidRequest(message, code="url_invalid", pointer=pointer)
    if allow.allows_host(origin.host, origin.port):
        if origin.scheme in _DEFAULT_PORTS:
            return origin
    elif (
        origin.scheme in schemes
        and origin.port in WEB_PORTS
        and _is_public_host(origin.host)
    ):
        return origin
    message = (
        f"URL not allowed: use {' or '.join(sorted(schemes))}, a public host, and port"
        " 80, 443, 8080 or 8443."
    )
    raise InvalidRequest(message, code="url_not_allowed", pointer=pointer)


def is_same_origin(one: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port."""
    origin = _parse(one)
    return origin is not None and origin == _parse(other)


def _parse(url: str) -> Origin | None:
    match = _URL.fullmatch(url) if len(url) <= MAX_URL_LENGTH else None
    if match is None or "#" in url:
        return None
    scheme, host = match["scheme"].lower(), _normalize(match["host"])
    port = int(match["port"] or _DEFAULT_PORTS.get(scheme, 1))
    if not 0 < port <= _MAX_PORT:
        return None
    bracketed = match["host"].startswith("[")
    if not (":" in host and _literal(host) if bracketed else _is_name(host)):
        return None
    return Origin(scheme=scheme, host=host, port=port)


def _is_public_host(host: str) -> bool:
    ip = _literal(host)
    if ip is not None:
        return is_public(ip)
    last = host.rpartition(".")[2]
    is_disguised_address = _NUMERIC.fullmatch(last) is not None
    is_private_name = "." not in host or host.endswith(_PRIVATE_SUFFIXES)
    return not is_disguised_address and not is_private_name


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return len(host) <= _MAX_NAME and all(_LABEL.fullmatch(label) for label in labels)


def _normalize(host: str) -> str:
    if host.startswith("["):
        return host[1:-1].lower()
    return host.lower().removesuffix(".")


def _literal(host: str) -> IPAddress | None:
    if ":" not in host and not host[-1:].isdigit():
        return None  # a name; avoids the cost of an exception
    try:
        return ip_address(host)
    except ValueError:
        return None


def _network(host: str) -> IPNetwork | None:
    try:
        return ip_network(host)
    except ValueError:
        return None


def _unmapped(ip: IPAddress) -> IPAddress:
    """Return the IPv4 address of ::ffff:0:0/96, to which a socket connects."""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


def _split_entry(entry: str) -> tuple[str, int | None]:
    """Split ``host:port``; a bare IPv6 address or network has no port."""
    if _network(entry):
        return entry, None
    host, colon, port = entry.rpartition(":")
    if not colon:
        return _normalize(entry), None
    if not port.isdecimal() or not 0 < int(port) <= _MAX_PORT:
        message = f"{entry!r} has an invalid port"
        raise ValueError(message)
    return _normalize(host), int(port)
