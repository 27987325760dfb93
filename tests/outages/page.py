"""The table of outages as docs/health.md shows it."""

from collections.abc import Mapping

from tests.outages.table import TABLE, Outage
from tests.support import ROOT

PAGE = ROOT / "docs" / "health.md"
BEGIN = "<!-- outages: `make outages` compares them; `--page` writes them -->\n"
END = "<!-- end of outages -->\n"
_HEAD = (
    "| outage | `/health` | `/health/ready` | metric | alerts | overview | a job |\n"
    "|---|---|---|---|---|---|---|\n"
)


def read() -> str:
    """Return the table of the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    """Write the table into the page."""
    text = PAGE.read_text()
    PAGE.write_text(text.replace(read(), build()))


def build() -> str:
    """Return the table as Markdown."""
    return "\n" + _HEAD + "".join(_build_line(row) for row in TABLE) + "\n"


def _build_line(row: Outage) -> str:
    selector, value = row.metric
    cells = (
        row.name,
        _join(row.status, row.parts),
        _join(str(row.ready or "no response"), row.checks),
        f"`{selector}` {'none' if value is None else f'{value:g}'}",
        ", ".join(
            f"[{name}](runbook.md#{name.lower()})" for name in sorted(row.alerts)
        ),
        "; ".join(f"“{text}”" for text in row.page),
        row.job or "is rejected",
    )
    return f"| {' | '.join(cell or '–' for cell in cells)} |\n"


def _join(status: str, states: Mapping[str, str]) -> str:
    return ", ".join([status, *(f"{name} {state}" for name, state in states.items())])
