"""Lanes: the sets of regions jobs may run in, and the narrow pools they need.

Pure. A lane is text, so that one index serves all: ``*`` (any region),
``eu-west-1+us-east-1`` (only these), ``*/diarize`` (any, and a place in the region's
diarize pool). Jobs of a lane that nothing serves now cost the claim nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

ANY = "*"

# Which options take a place in which of Deepgram's narrower limits
# (https://developers.deepgram.com/reference/api-rate-limits).
POOLS: dict[str, tuple[str, ...]] = {
    "diarize": ("diarize", "diarize_model"),
    "entities": ("detect_entities",),
    "summarize": ("summarize", "topics", "intents", "sentiment"),
}


def needs_pool(options: Mapping[str, Any]) -> bool:
    """Whether any option takes a place in a narrow pool, where one is configured."""
    return any(options.get(name) for names in POOLS.values() for name in names)


def build_lane(
    *,
    regions: Iterable[str],
    options: Mapping[str, Any],
    configured: Collection[str] = (),
) -> str:
    """Return the lane; only pools that some region has ``configured`` are in it."""
    pools = [
        pool
        for pool, names in sorted(POOLS.items())
        if pool in configured and any(options.get(name) for name in names)
    ]
    return "/".join(filter(None, ["+".join(sorted(regions)) or ANY, "+".join(pools)]))


def regions_of(lane: str) -> frozenset[str]:
    """Return the regions a lane names; empty means any."""
    regions = lane.partition("/")[0]
    return frozenset() if regions == ANY else frozenset(regions.split("+"))


def pools_of(lane: str) -> list[str]:
    """Return the narrow pools a lane needs."""
    pools = lane.partition("/")[2]
    return pools.split("+") if pools else []


def may_run(lane: str, region: str, *, pinned: Collection[str] = ()) -> bool:
    """Tell whether jobs of the lane may run in the region.

    While regions are pinned, a lane that may run in one of them runs in no other.
    """
    allowed = regions_of(lane)
    if allowed and region not in allowed:
        return False
    reachable = [name for name in pinned if not allowed or name in allowed]
    return not reachable or region in reachable
