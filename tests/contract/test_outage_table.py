"""The table of outages: complete, one page for each, and shown in docs/health.md."""

import yaml

from tests.outages import page
from tests.outages.table import TABLE
from tests.support import ROOT

RULES = ROOT / "deploy" / "prometheus" / "rules" / "alerts.yml"


def severities() -> dict[str, str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {
        rule["alert"]: rule["labels"]["severity"]
        for group in groups
        for rule in group["rules"]
    }


def test_the_page_shows_the_table():
    assert page.read() == page.build(), "run `python -m tests.outages --page`"


def test_no_outage_pages_twice_and_nothing_intended_pages():
    severity = severities()
    names = [row.name for row in TABLE]

    assert len(set(names)) == len(names) >= 40
    for row in TABLE:
        pages = [name for name in row.alerts if severity[name] == "page"]
        assert len(pages) <= 1, row.name
        is_intended = "on purpose" in row.name or "clock" in row.name
        assert bool(row.alerts) != (is_intended or row.name == "nothing"), row.name
