"""Checks that an API key grants no more than it has in scopes, networks and lifetime.

An empty list of networks means anywhere and no expiry means forever, so both exceed
every limit.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from jobs.accounts.client_address import parse_networks
from jobs.errors import Forbidden
from jobs.models import ApiKey


def check_scopes(scopes: Iterable[str], holder: ApiKey) -> None:
    """Raise Forbidden for a scope that the holder lacks."""
    lacking = sorted(set(scopes) - set(holder.scopes))
    if lacking:
        message = f"The calling key lacks the scope {lacking[0]}."
        raise Forbidden(message, code="scope_missing")


def check_networks(allowed_ips: Sequence[str], holder: ApiKey) -> None:
    """Raise Forbidden for networks outside the holder's ``allowed_ips``."""
    if not is_within(allowed_ips, holder.allowed_ips):
        message = (
            "This key may only be used from its own allowed_ips, so a key that it"
            " creates, changes or rotates needs allowed_ips within those. An empty"
            " list means anywhere."
        )
        raise Forbidden(message, code="allowed_ips_exceeded")


def check_expiry(expires_at: datetime | None, holder: ApiKey) -> None:
    """Raise Forbidden for a lifetime that ends after the holder's."""
    if holder.expires_at and (expires_at is None or expires_at > holder.expires_at):
        message = (
            f"This key expires at {holder.expires_at.isoformat()}, so a key that it"
            " creates or rotates needs an expires_at no later than that."
        )
        raise Forbidden(message, code="expires_at_exceeded")


def is_within(allowed_ips: Sequence[str], limit: Sequence[str]) -> bool:
    """Return whether ``limit`` covers all of ``allowed_ips``; empty means anywhere."""
    if not limit:
        return True
    limit_v4, limit_v6 = _split(limit)
    v4, v6 = _split(allowed_ips)
    return (
        bool(allowed_ips)
        and all(any(each.subnet_of(outer) for outer in limit_v4) for each in v4)
        and all(any(each.subnet_of(outer) for outer in limit_v6) for each in v6)
    )


def _split(texts: Sequence[str]) -> tuple[list[IPv4Network], list[IPv6Network]]:
    """Return the networks by IP version; adjacent ones are merged."""
    networks = parse_networks(tuple(texts))
    v4 = [each for each in networks if isinstance(each, IPv4Network)]
    v6 = [each for each in networks if isinstance(each, IPv6Network)]
    return list(collapse_addresses(v4)), list(collapse_addresses(v6))
