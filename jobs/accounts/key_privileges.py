"""What one API key may grant to another: never more than it has itself.

A key has scopes, networks and a lifetime. An empty list of networks means anywhere, and
no expiry means for ever, so both are more than any limit.
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
        message = f"This key lacks the scope {lacking[0]} itself."
        raise Forbidden(message, code="scope_missing")


def check_networks(allowed_ips: Sequence[str], holder: ApiKey) -> None:
    """Raise Forbidden for addresses that the holder may not be used from."""
    if not is_within(allowed_ips, holder.allowed_ips):
        message = (
            "This key may only be used from its own allowed_ips, so a key that it"
            " creates, changes or rotates needs allowed_ips within those. None named"
            " means anywhere."
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
    """Tell whether every address of the first list is in the second; empty is all."""
    if not limit:
        return True
    v4, v6 = _split(limit)
    asked_v4, asked_v6 = _split(allowed_ips)
    return (
        bool(allowed_ips)
        and all(any(it.subnet_of(whole) for whole in v4) for it in asked_v4)
        and all(any(it.subnet_of(whole) for whole in v6) for it in asked_v6)
    )


def _split(texts: Sequence[str]) -> tuple[list[IPv4Network], list[IPv6Network]]:
    """Return the networks of each version, neighbours joined into larger ones."""
    networks = parse_networks(tuple(texts))
    v4 = [it for it in networks if isinstance(it, IPv4Network)]
    v6 = [it for it in networks if isinstance(it, IPv6Network)]
    return list(collapse_addresses(v4)), list(collapse_addresses(v6))
