"""Plays rows of the table on the stand, and compares what is seen with the row."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.outages import alerts
from tests.outages.stand import Observation, Stand
from tests.outages.table import Outage

# Longer than the longest silence before a process is away.
SEEN_WITHIN_SECONDS = 45.0
OVER_WITHIN_SECONDS = 60.0
# The longest time in which an alert sees a counter rise.
RECENT_MINUTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a row went; without differences it went as the table says."""

    row: Outage
    differences: list[str]
    seconds: float


def play(stand: Stand, row: Outage) -> Result:
    """Produce an outage, compare, take it back and wait until all is well again."""
    began = time.monotonic()
    if row.minutes < RECENT_MINUTES:  # what earlier rows counted would still be seen
        stand.before = stand.scrape_twice()
    with row.produce(stand):
        job = stand.submit()
        differences = _wait_for(stand, row, job)
        during = stand.scrape_twice()
    differences += _compare_alerts(stand, row, during)
    try:
        stand.wait_ended([job])
        stand.wait(
            lambda: stand.observe() == stand.well and _is_up(stand),
            seconds=OVER_WITHIN_SECONDS,
            what="all is well again",
        )
    except AssertionError as error:
        differences.append(f"afterwards: {error}: {stand.observe()}")
    seconds = time.monotonic() - began
    return Result(row=row, differences=differences, seconds=seconds)


def _wait_for(stand: Stand, row: Outage, job: str) -> list[str]:
    """Return what still differs when it should be seen."""
    end = time.monotonic() + SEEN_WITHIN_SECONDS
    while differences := list(_compare(stand, row, job)):
        if time.monotonic() > end:
            break
        stand.platform.tick()
        time.sleep(0.5)
    return differences


def _compare(stand: Stand, row: Outage, job: str) -> Iterator[str]:
    seen, well = stand.observe(), stand.well
    metric, value = row.metric
    facts = (
        ("health", seen.status, row.status if row.status != "ok" else well.status),
        ("parts", _changed(seen.parts, well.parts), dict(row.parts)),
        ("ready", seen.ready, row.ready),
        ("checks", _changed(seen.checks, well.checks), dict(row.checks)),
        (metric, stand.scrape().find(metric), value),
        ("job", stand.explain(job) if job else "", row.job),
    )
    for name, got, expected in facts:
        if got != expected:
            yield f"{name}: {got}, not {expected}"
    texts = _new_texts(seen, well)
    if len(texts) != len(row.page) or not all(
        any(part in text for text in texts) for part in row.page
    ):
        yield f"page: {texts}, not {row.page}"


def _changed(seen: dict[str, str], well: dict[str, str]) -> dict[str, str]:
    return {name: state for name, state in seen.items() if state != well.get(name)}


def _new_texts(seen: Observation, well: Observation) -> list[str]:
    return [text for text in seen.page if text not in well.page]


def _compare_alerts(stand: Stand, row: Outage, during: alerts.Scrapes) -> list[str]:
    if not alerts.find_promtool():
        return []
    well, firing = alerts.find_firing(stand.before, during, minutes=row.minutes)
    pairs = ((well, stand.lacking), (firing - stand.lacking, row.alerts))
    down = [
        dict(labels)["process"]
        for (name, labels), value in during[-1].samples.items()
        if name == "up" and not value
    ]
    return [
        f"alerts: {sorted(got)}, not {sorted(expected)}; down: {down}"
        for got, expected in pairs
        if got != expected
    ]


def _is_up(stand: Stand) -> bool:
    samples = stand.scrape().samples
    return all(value for (name, _), value in samples.items() if name == "up")
