"""What in the figures needs somebody, in sentences; usually nothing does. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

OLD_SECONDS = 600
FULL_SHARE = 0.98
LEAST_ATTEMPTS = 20
WELL_SHARE = 0.9
FAILED_SHARE = 0.1
LEAST_ENDED = 20

Trouble = dict[str, str]
_BAD_STATES = {
    "paused": "is paused: {reason}",
    "breaker open": "fails: its circuit breaker is open",
    "cooling down": "said 429: it is left alone for {cooldown_seconds:.0f} s",
    "drained": "is drained by an operator",
    "disabled": "is switched off by an operator",
}
_CHOSEN = {"drained", "disabled"}


def find_troubles(figures: Mapping[str, Any]) -> list[Trouble]:
    """Return what is wrong, worst first: ``level``, a sentence, and where to look."""
    found = [
        *_of_redis(figures),
        *_of_workers(figures["workers"], figures["backlog"]),
        *_of_regions(figures["regions"]),
        *_of_jobs(figures["minutes"]),
        *_of_backlog(figures["backlog"]),
        *_of_webhooks(figures["webhooks"]),
    ]
    return sorted(found, key=lambda each: each["level"] != "bad")


def _trouble(level: str, text: str, panel: str) -> Trouble:
    return {"level": level, "text": text, "panel": panel}


def _of_redis(figures: Mapping[str, Any]) -> Iterable[Trouble]:
    if figures["is_redis_away"]:
        text = "Redis does not answer: nothing new is begun; what runs goes on."
        yield _trouble("bad", text, "regions")


def _of_workers(
    workers: Mapping[str, Any], backlog: Mapping[str, Any]
) -> Iterable[Trouble]:
    if not workers["alive"]:
        level = "bad" if backlog["jobs"] else "warn"
        yield _trouble(level, "No worker is alive.", "workers")
    elif workers["stale"]:
        text = f"Workers that say nothing any more: {workers['stale']}."
        yield _trouble("warn", text, "workers")


def _of_regions(regions: Iterable[Mapping[str, Any]]) -> Iterable[Trouble]:
    regions = list(regions)
    if not regions:
        yield _trouble("bad", "There is no region to send audio to.", "regions")
    for region in regions:
        if region["state"] in _BAD_STATES:
            level = "warn" if region["state"] in _CHOSEN else "bad"
            text = _BAD_STATES[region["state"]].format(**region)
            yield _trouble(level, f"Region {region['name']} {text}.", "regions")
        for limit in region["limits"]:
            if limit["used"] is not None and _is_full(limit):
                text = f"Region {region['name']}: {limit['name'].lower()} at the limit."
                yield _trouble("warn", text, "regions")


def _is_full(limit: Mapping[str, Any]) -> bool:
    return bool(limit["limit"] and limit["used"] >= FULL_SHARE * limit["limit"])


def _of_jobs(minutes: Iterable[Mapping[str, Any]]) -> Iterable[Trouble]:
    late = [minute["ended"] for minute in list(minutes)[-10:]]
    failed = sum(each.get("failed", 0) for each in late)
    ended = sum(sum(each.values()) for each in late)
    if ended >= LEAST_ENDED and failed > FAILED_SHARE * ended:
        text = f"{failed} of the {ended} jobs of the last ten minutes failed."
        yield _trouble("bad", text, "jobs")


def _of_backlog(backlog: Mapping[str, Any]) -> Iterable[Trouble]:
    oldest = backlog["oldest_seconds"]
    if oldest > OLD_SECONDS:
        text = f"The oldest job has waited {oldest / 60:.0f} minutes."
        yield _trouble("warn", text, "backlog")


def _of_webhooks(webhooks: Mapping[str, Any]) -> Iterable[Trouble]:
    attempts, succeeded = webhooks["attempts"], webhooks["succeeded"]
    if attempts >= LEAST_ATTEMPTS and succeeded < WELL_SHARE * attempts:
        text = f"Only {100 * succeeded / attempts:.0f} % of webhook attempts succeed."
        yield _trouble("warn", text, "webhooks")
