"""The runbook has an entry for each alert, and names what there is."""

import re

import pytest
import yaml
from django.core.management import get_commands

from tests.support import ROOT

DOCS = ROOT / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text()


def alerts() -> list[dict[str, object]]:
    rules = (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")
    groups = [
        group for path in rules for group in yaml.safe_load(path.read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_each_alert_has_its_entry_and_leads_to_it():
    entries = re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)

    assert sorted(entries) == sorted(str(rule["alert"]) for rule in alerts())
    for rule in alerts():
        # docs/health.md: a full URL, from the label that prometheus.yml sets.
        base = "{{ or $externalLabels.runbook $externalURL }}"
        leads = f"{base}#{str(rule['alert']).lower()}"
        assert rule["annotations"]["runbook_url"] == leads


def test_each_entry_says_how_urgent_it_is_where_to_look_and_what_to_do():
    urgency = {rule["alert"]: rule["labels"]["severity"] for rule in alerts()}
    for name, text in re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.M | re.S):
        assert text.lstrip().startswith(f"*{urgency[name].capitalize()}.*"), name
        assert "**Look" in text
        assert "**Do:**" in text or "do:**" in text
        assert "**Customers:**" in text


@pytest.mark.parametrize("page", ["runbook", "health", "backup", "capacity"])
def test_commands_and_links_of_operators_pages_are_there(page):
    text = (DOCS / f"{page}.md").read_text()
    named = set(re.findall(r"manage\.py (\w+)", text)) - {"probe"}
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)

    assert named <= set(get_commands())
    assert [
        link for link in links if "://" not in link and not (DOCS / link).exists()
    ] == []
    for anchor in re.findall(r"\]\(#([\w-]+)\)", text):
        assert re.search(rf"^###? {anchor}$", text, re.MULTILINE | re.IGNORECASE), (
            anchor
        )
