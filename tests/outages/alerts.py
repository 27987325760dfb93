"""What Prometheus makes of an outage, by promtool: the shipped rules, the run's metrics.

The samples before the outage and those of the outage become series, as long as
Prometheus would have to see them; counters go on rising as they did between two scrapes.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.outages.stand import Labels, Scrape
from tests.support import ROOT

RULES = ROOT / "deploy" / "prometheus" / "rules"
STEP_SECONDS = 15
BEFORE_MINUTES = 20
# What rises with time although it is no counter.
_AGES = (
    "transcription_queue_oldest_seconds",
    "transcription_webhook_oldest_due_seconds",
)
_COUNTERS = ("_total", "_count", "_sum", "_bucket")
_FIRING = 'group by (alertname) (ALERTS{alertstate="firing"})'

Scrapes = tuple[Scrape, Scrape]


def find_promtool() -> str | None:
    """Return the path of promtool."""
    return shutil.which("promtool")


def find_firing(
    before: Scrapes, during: Scrapes, *, minutes: int
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the alerts that fire before an outage, and after so many minutes of it."""
    steps = minutes * 60 // STEP_SECONDS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tests.yml"
        path.write_text(json.dumps(_build_test(before, during, steps)))
        told = subprocess.run(
            (str(find_promtool()), "test", "rules", str(path)),
            check=False,
            capture_output=True,
            text=True,
        )
    found = _parse(told.stdout + told.stderr)
    first, then = (f"{each}m" for each in (BEFORE_MINUTES, BEFORE_MINUTES + minutes))
    return found.get(first, frozenset()), found.get(then, frozenset())


def _build_test(before: Scrapes, during: Scrapes, steps: int) -> dict[str, object]:
    """Return a unit test that expects nothing to fire, so that promtool lists what does.

    https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
    """
    at = [BEFORE_MINUTES * 60, BEFORE_MINUTES * 60 + steps * STEP_SECONDS]
    return {
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))],
        "evaluation_interval": f"{STEP_SECONDS}s",
        "tests": [
            {
                "interval": f"{STEP_SECONDS}s",
                "input_series": list(_series(before, during, steps)),
                "promql_expr_test": [
                    {"expr": _FIRING, "eval_time": f"{seconds}s"} for seconds in at
                ],
            }
        ],
    }


def _series(before: Scrapes, during: Scrapes, steps: int) -> Iterator[dict[str, str]]:
    named = "".join(path.read_text() for path in RULES.glob("*.yml"))
    wanted = set(re.findall(r"[a-z_]+", named))
    keys = before[0].samples.keys() | during[0].samples.keys()
    for name, labels in sorted(keys):
        if name in wanted:
            first = _values(before, (name, labels), BEFORE_MINUTES * 60 // STEP_SECONDS)
            then = _values(during, (name, labels), steps)
            yield {"series": _format(name, labels), "values": f"{first} {then}"}


def _values(scrapes: Scrapes, key: tuple[str, Labels], steps: int) -> str:
    """Return promtool's notation of a series: a value, what it gains, how often."""
    first, last = (scrape.samples.get(key) for scrape in scrapes)
    if first is None or last is None:
        return f"_x{steps}" if first is last else f"stale _x{steps - 1}"
    gain = 0.0
    if key[0] in _AGES and last > first:
        gain = STEP_SECONDS
    elif key[0].endswith(_COUNTERS):
        seconds = scrapes[1].at - scrapes[0].at
        gain = max(0.0, (last - first) / seconds * STEP_SECONDS)
    return f"{last:f}+{gain:f}x{steps}"


def _format(name: str, labels: Labels) -> str:
    pairs = ",".join(f"{key}={json.dumps(value)}" for key, value in labels)
    return f"{name}{{{pairs}}}"


def _parse(told: str) -> dict[str, frozenset[str]]:
    """Return what promtool complains about: the alerts that fire, by time ("32m")."""
    found = {
        time: frozenset(re.findall(r'alertname="(\w+)"', got))
        for time, got in re.findall(r"time: (\w+), *\n\s*exp:.*\n\s*got:(.*)", told)
    }
    assert found or "SUCCESS" in told, told
    return found
