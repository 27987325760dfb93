"""Alerts for the dashboard, derived from its statistics."""

from collections.abc import Iterable, Mapping
from typing import Any

from workers.monitoring.components import ComponentState

MAX_AGE_SECONDS = 600
FULL_SHARE = 0.98
MIN_ATTEMPTS = 20
MIN_SUCCESS_SHARE = 0.9
MAX_FAILED_SHARE = 0.1
MIN_ENDED = 20

Alert = dict[str, str]
_BAD_STATES = {
    "paused": "is paused: {reason}",
    "breaker open": "fails: its circuit breaker is open",
    "cooling down": "responded 429: no calls for {cooldown_seconds:.0f} s",
    "drained": "is drained by an operator",
    "disabled": "is disabled by an operator",
}
_PANELS = {"redis": "regions", "workers": "workers", "webhooks": "webhooks"}
_SET_BY_OPERATOR = {"drained", "disabled"}


def find_alerts(statistics: Mapping[str, Any]) -> list[Alert]:
    """Return the alerts, worst first: with ``level``, ``text`` and ``panel``."""
    found = [
        *_check_components(statistics["components"]),
        *_check_regions(statistics["regions"]),
        *_check_jobs(statistics["minutes"]),
        *_check_backlog(statistics["backlog"]),
        *_check_webhooks(statistics["webhooks"]),
    ]
    return sorted(found, key=lambda alert: alert["level"] != "bad")


def _alert(level: str, text: str, panel: str) -> Alert:
    return {"level": level, "text": text, "panel": panel}


def _check_components(components: Iterable[Mapping[str, Any]]) -> Iterable[Alert]:
    for component in components:
        name, state = component["name"], component["state"]
        if state != ComponentState.OK:
            level = "bad" if state == ComponentState.AWAY else "warn"
            text = f"{name.capitalize()}: {component['detail']}."
            yield _alert(level, text, _PANELS.get(name, "jobs"))


def _check_regions(regions: Iterable[Mapping[str, Any]]) -> Iterable[Alert]:
    regions = list(regions)
    if not regions:
        yield _alert("bad", "No region is configured.", "regions")
    for region in regions:
        if region["state"] in _BAD_STATES:
            level = "warn" if region["state"] in _SET_BY_OPERATOR else "bad"
            text = _BAD_STATES[region["state"]].format(**region)
            yield _alert(level, f"Region {region['name']} {text}.", "regions")
        for limit in region["limits"]:
            if limit["used"] is not None and _is_full(limit):
                text = f"Region {region['name']}: {limit['name'].lower()} at the limit."
                yield _alert("warn", text, "regions")


def _is_full(limit: Mapping[str, Any]) -> bool:
    return bool(limit["limit"] and limit["used"] >= FULL_SHARE * limit["limit"])


def _check_jobs(minutes: Iterable[Mapping[str, Any]]) -> Iterable[Alert]:
    recent = [minute["ended"] for minute in list(minutes)[-10:]]
    failed = sum(counts.get("failed", 0) for counts in recent)
    ended = sum(sum(counts.values()) for counts in recent)
    if ended >= MIN_ENDED and failed > MAX_FAILED_SHARE * ended:
        text = f"{failed} of {ended} jobs of the last 10 minutes failed."
        yield _alert("bad", text, "jobs")


def _check_backlog(backlog: Mapping[str, Any]) -> Iterable[Alert]:
    oldest = backlog["oldest_seconds"]
    if oldest > MAX_AGE_SECONDS:
        text = f"The oldest job has waited {oldest / 60:.0f} minutes."
        yield _alert("warn", text, "backlog")
    if closed := backlog["closed"]:
        text = f"{closed:,} jobs wait for a region that an operator has closed."
        yield _alert("warn", text, "backlog")


def _check_webhooks(webhooks: Mapping[str, Any]) -> Iterable[Alert]:
    attempts, succeeded = webhooks["attempts"], webhooks["succeeded"]
    if attempts >= MIN_ATTEMPTS and succeeded < MIN_SUCCESS_SHARE * attempts:
        text = f"Only {100 * succeeded / attempts:.0f} % of webhook attempts succeed."
        yield _alert("warn", text, "webhooks")
