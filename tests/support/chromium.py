"""Chromium for tests: the one of this machine, without its sandbox."""

import shutil
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Error, Page, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="NOT LOOKED AT: no Chromium here (apt-get install chromium)",
)
_AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
_RUN_AXE = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.flatMap(
    ({ id, nodes }) => nodes.map(({ html, any, all, none }) =>
      [id, html.slice(0, 120), ([...any, ...all, ...none][0] ?? {}).message].join(" | ")));
}"""


def launch(playwright: Playwright, *arguments: str) -> Any:
    """Start it, or skip loudly where it does not start."""
    try:
        return playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *arguments]
        )
    except Error as error:
        pytest.skip(f"NOT LOOKED AT: Chromium does not start: {error}")


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with the page as it is."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(_AXE.read_text())
    found: list[str] = page.evaluate(_RUN_AXE)
    return found
