"""/docs, /problems and /admin in headless Chromium, wide and narrow, light and dark."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from tests.support import ROOT
from tests.support.chromium import launch, needs_chromium
from workers.embedded.probes import http_answers
from workers.embedded.processes import free_port, log_tail, wait_until

PATHS = [
    "/docs",
    "/problems",
    "/problems/key_missing",
    "/admin/login/",
    "/console/",
]

pytestmark = [pytest.mark.slow, needs_chromium, pytest.mark.xdist_group("pages")]


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def web(request: Any, tmp_path_factory: Any) -> Iterator[str]:
    """Serve the real application by each gateway; the pages need no database."""
    port, kind = free_port(), request.param
    log = tmp_path_factory.mktemp(kind) / "web.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "granian", "--interface", kind),
                *("--host", "127.0.0.1", "--port", str(port)),
                f"transcribe_platform.{kind}:application",
            ),
            cwd=ROOT,
            env={**os.environ, "ALLOWED_HOSTS": "*"},
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        assert wait_until(lambda: http_answers(f"{url}/health/live"), seconds=60)
        yield url
    finally:
        process.terminate()
        process.wait(30)
    assert "Traceback" not in log.read_text(), log_tail(log)
    assert "Warning" not in log.read_text(), log_tail(log)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        yield (found := launch(playwright))
        found.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_fit_load_only_from_here_and_break_no_policy(web, browser, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    grounds = {}

    for path in PATHS:
        page.goto(web + path)
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        assert page.evaluate("document.styleSheets.length") > 0, path
        grounds[path] = page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert [url for url in asked if not url.startswith(web)] == []
    # What the policy or a missing file says; the admin brings no icon of its own.
    assert [text for text in said if "favicon" not in text and "404" not in text] == []
    wanted = {"light": "rgb(251, 251, 249)", "dark": "rgb(20, 23, 22)"}[scheme]
    assert {grounds[path] for path in PATHS if path[1] in "dp"} == {wanted}
    context.close()
