"""Routing keys: the regions that a job may run in and the feature pools it needs.

Pure. Stored as text in ``Job.lane``, so that one index serves all: ``*`` (any region),
``eu-west-1+us-east-1`` (only these), ``*/diarize`` (any, and one permit of the region's
diarize pool). Jobs whose routing key no region serves cost the claim nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

ANY = "*"

# Deepgram's concurrency limits of single features, and the options that count there:
# https://developers.deepgram.com/reference/api-rate-limits
POOLS: dict[str, tuple[str, ...]] = {
    "diarize": ("diarize", "diarize_model"),
    "entities": ("detect_entities",),
    "summarize": ("summarize", "topics", "intents", "sentiment"),
}


def needs_pool(options: Mapping[str, Any]) -> bool:
    """Return whether any option counts against a feature pool."""
    return any(options.get(name) for names in POOLS.values() for name in names)


def build_routing_key(
    *,
    regions: Iterable[str],
    options: Mapping[str, Any],
    configured: Collection[str] = (),
) -> str:
    """Return the routing key; it names only pools that are ``configured``."""
    pools = [
        pool
        for pool, names in sorted(POOLS.items())
        if pool in configured and any(options.get(name) for name in names)
    ]
    return "/".join(filter(None, ["+".join(sorted(regions)) or ANY, "+".join(pools)]))


def parse_regions(routing_key: str) -> frozenset[str]:
    """Return the regions of a routing key; empty means any."""
    regions = routing_key.partition("/")[0]
    return frozenset() if regions == ANY else frozenset(regions.split("+"))


def parse_pools(routing_key: str) -> list[str]:
    """Return the feature pools of a routing key."""
    pools = routing_key.partition("/")[2]
    return pools.split("+") if pools else []


def can_run(routing_key: str, region: str, *, pinned: Collection[str] = ()) -> bool:
    """Return whether jobs with the routing key may run in the region.

    Jobs that may run in a pinned region run in no other.
    """
    allowed = parse_regions(routing_key)
    if allowed and region not in allowed:
        return False
    reachable = [name for name in pinned if not allowed or name in allowed]
    return not reachable or region in reachable
