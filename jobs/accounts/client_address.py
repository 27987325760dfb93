"""The client's IP address, for allow-lists, throttles and logs.

``REMOTE_ADDR``, unless that is in ``settings.TRUSTED_PROXIES``: then the rightmost hop
of ``X-Forwarded-For`` that is not. The client can write anything further left. No other
header is read, neither ``Forwarded`` nor ``X-Real-IP``.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

from jobs.egress.addresses import IPAddress, IPNetwork

# Some proxies add the port: 192.0.2.1:4711, [2001:db8::1]:4711.
_WITH_PORT = re.compile(r"(?:\[([^]]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


def client_address(request: HttpRequest) -> IPAddress | None:
    """Return the client's address; None if no trusted hop states it.

    The same over WSGI and ASGI. Allow-lists must refuse None.
    """
    peer = _parse(request.META.get("REMOTE_ADDR", ""))
    trusted = parse_networks(tuple(settings.TRUSTED_PROXIES))
    header = request.META.get("HTTP_X_FORWARDED_FOR", "")
    if peer is None or not header or not is_in(peer, trusted):
        return peer
    hop = peer
    for text in reversed(header.split(",")):
        parsed = _parse(text.strip())
        if parsed is None:
            return None
        hop = parsed
        if not is_in(hop, trusted):
            break
    return hop


def is_in(address: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    """Return whether the address is in any of the networks."""
    return any(address in network for network in networks)


@lru_cache(maxsize=1024)
def parse_networks(texts: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    """Parse addresses and CIDR blocks; raise ValueError for anything else."""
    return tuple(ip_network(text) for text in texts)


def _parse(text: str) -> IPAddress | None:
    """Parse an address; an IPv4-mapped IPv6 address becomes IPv4."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match[1] or match[2]) if match else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
