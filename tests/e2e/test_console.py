"""/console/ in headless Chromium, on a real run of the platform, by real speech."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.chromium import launch, needs_chromium, violations
from tests.support.platform_run import Run
from workers.demo import corpus

FOLDER = Path(__file__).parent
TRAIN = corpus.FOLDER / "train.mp3"
SPOKEN = corpus.FOLDER / "health.wav"
WAIT_MS = 60_000

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("run_platform"),
    needs_chromium,
]


class Console:
    """Somebody at the console, and what the browser asked for and said meanwhile."""

    def __init__(self, page: Page, ready: dict[str, Any]) -> None:
        self.page, self.ready = page, ready
        self.asked: list[str] = []
        self.said: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, place: str = "") -> None:
        self.page.goto(f"{self.ready['web']}/console/{place}")

    def sign_in(self) -> None:
        self.open(f"#key={self.ready['api_key']}")
        self.page.wait_for_selector(".record")

    def send(self, name: str) -> None:
        """Upload a bundled recording and wait for its words."""
        self.open("#/upload")
        self.page.set_input_files("#file", str(corpus.FOLDER / name))
        self.page.click(".button.primary")
        self.page.wait_for_selector(".words")

    def ask(self, path: str) -> Any:
        """Ask the API as the page does."""
        return self.page.evaluate(
            "async ([path, key]) => (await fetch(path,"
            " { headers: { Authorization: `Bearer ${key}` } })).json()",
            [path, self.ready["api_key"]],
        )

    def find_heard(self) -> Any:
        """Return a job of audio that is stored, and in which somebody speaks."""
        jobs = self.ask("/v1/jobs?status=completed")["data"]
        return next(job for job in jobs if job["audio"].get("filename") == TRAIN.name)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        found = launch(
            playwright,
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={SPOKEN}",
            "--autoplay-policy=no-user-gesture-required",
        )
        yield found
        found.close()


@pytest.fixture
def console(browser: Any, first_run: Run) -> Iterator[Console]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield (somebody := Console(context.new_page(), first_run.ready()))
    context.close()
    web = somebody.ready["web"]
    local = (web, f"blob:{web}", web.replace("http", "ws", 1), "data:")
    assert [url for url in somebody.asked if not url.startswith(local)] == []


def test_the_key_is_taken_from_the_address_and_kept_in_this_tab_alone(console):
    page = console.page
    console.open("#key=tp_live_wrong")
    expect(page.get_by_role("alert")).to_contain_text("key_malformed")
    link = page.get_by_role("alert").get_by_role("link")
    assert link.get_attribute("href") == "/problems/key_malformed"
    assert "wrong" not in page.url

    page.fill("#key", console.ready["api_key"])
    page.keyboard.press("Enter")
    page.wait_for_selector(".record")

    assert page.url == f"{console.ready['web']}/console/"
    kept = page.evaluate("[JSON.stringify({...localStorage}), document.cookie]")
    assert kept == ["{}", ""]
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("#key")


def make_link_of_another_account(console):
    """Return a link's fragment with a key of the same tenant, named otherwise."""
    made = console.page.evaluate(
        "async (key) => (await fetch('/v1/api-keys', { method: 'POST', headers: {"
        " Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },"
        " body: JSON.stringify({ name: 'of a link', scopes: ['jobs:read'] }) })).json()",
        console.ready["api_key"],
    )
    return made["key"]


def key_in_use(page):
    return page.evaluate("Object.values({...sessionStorage})[0]")


def test_a_link_replaces_the_account_in_use_only_when_that_is_confirmed(console):
    page, own = console.page, console.ready["api_key"]
    console.sign_in()
    offered = make_link_of_another_account(console)
    console.open("#/jobs")
    dialog = page.get_by_role("dialog", name="Switch to another account?")

    console.open(f"#key={offered}")  # within the page

    expect(dialog).to_contain_text("of a link")
    assert key_in_use(page) == own
    assert page.url.endswith("/console/#/jobs")
    expect(page.get_by_role("button", name="Stay signed in")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert key_in_use(page) == own

    page.goto("about:blank")
    console.open(f"#key={offered}")  # as a page of its own

    expect(dialog).to_be_visible()
    assert page.url.endswith("/console/")
    page.get_by_role("button", name="Stay signed in").click()
    expect(dialog).to_have_count(0)
    assert key_in_use(page) == own

    console.open("#key=tp_live_wrong")
    expect(page.locator(".note")).to_contain_text("not valid")
    assert key_in_use(page) == own
    console.said.clear()  # the browser's own line about the 401

    console.open(f"#key={own}")  # the same account: nothing to ask
    page.wait_for_selector(".record")
    expect(dialog).to_have_count(0)

    console.open(f"#key={offered}")
    page.get_by_role("button", name="Switch account").click()
    expect(dialog).to_have_count(0)
    page.wait_for_function(
        "key => Object.values({...sessionStorage})[0] === key", arg=offered
    )
    assert console.said == []


def test_an_upload_goes_its_way_and_a_click_on_a_word_plays_it(console):
    page = console.page
    console.sign_in()
    console.open("#/upload")
    page.set_input_files("#file", str(TRAIN))
    expect(page.locator(".route")).to_contain_text("Sync: transcribed immediately")
    page.click(".button.primary")

    page.wait_for_selector(".has-sound .words")
    expect(page.locator(".route")).to_contain_text(
        "is under 1 min: transcribed immediately."
    )
    word = page.locator(".word", has_text="airport")
    word.click()
    expect(page.locator(".word.lit")).to_have_text("airport")
    page.keyboard.press("Space")

    assert page.evaluate("document.querySelector('audio').paused")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".word.chosen")).to_have_text("the")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator(".timeline")).to_contain_text("Upstream call 1")
    assert console.said == []


def test_stored_audio_is_fetched_with_the_key_and_played(console):
    page = console.page
    console.sign_in()
    job = console.find_heard()

    console.open(f"#/jobs/{job['id']}")

    page.wait_for_selector(".has-sound .words")
    assert f"{console.ready['web']}/v1/jobs/{job['id']}/audio" in console.asked
    expect(page.locator(".player .time").last).not_to_have_text("0:00")
    page.click("summary:has-text('Download')")
    took = {}
    for place, menu in enumerate(("Text", "(SRT)", "(WebVTT)", "JSON,", "Deepgram")):
        if place:
            page.click("summary:has-text('Download')")
        with page.expect_download() as saved:
            page.click(f".menu-list button:has-text('{menu}')")
        took[menu] = saved.value.path().read_text()
    assert "airport" in took["Text"]
    assert took["(SRT)"].startswith("1\n00:00:0")
    assert took["(WebVTT)"].startswith("WEBVTT\n\n00:00:0")
    assert json.loads(took["JSON,"])["job_id"] == job["id"]
    assert json.loads(took["Deepgram"])["metadata"]["channels"] == 1
    assert console.said == []


def test_the_list_follows_what_happens_elsewhere(console):
    page = console.page
    console.sign_in()
    console.open("#/jobs")
    expect(page.locator(".live-state")).to_have_text("Live")

    made = page.evaluate(
        """async (key) => (await fetch("/v1/jobs", {
          method: "POST",
          headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
          body: JSON.stringify({ audio_url: "https://audio.example.com/later.wav",
            options: { tag: ["emu:delay20"] } }),
        })).json()""",
        console.ready["api_key"],
    )

    row = page.locator(f'[data-id="{made["id"]}"]')
    expect(row).to_contain_text("later.wav")
    row.get_by_role("link").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".page-head .chip")).to_have_text("Canceled")
    expect(page.locator(".timeline")).to_contain_text("Canceled")
    page.click("text=Jobs")
    expect(row).to_contain_text("Canceled")


def test_what_is_spoken_comes_as_words_that_turn_final_and_is_a_job(console):
    page, warning = console.page, {"type": "warning", "code": "upstream_reconnecting"}
    sockets = []

    def pass_on(socket):
        socket.connect_to_server()
        sockets.append(socket)

    page.route_web_socket("**/v1/live*", pass_on)
    console.sign_in()
    page.focus(".record")
    page.keyboard.press("Enter")

    expect(page.locator(".live-interim")).to_contain_text("government")
    sockets[0].send(json.dumps({**warning, "detail": "It broke upstream."}))
    expect(page.locator(".record-label")).to_have_text("Reconnecting upstream…")
    expect(page.locator(".live-warning")).to_contain_text("It broke upstream.")
    final = page.locator(".live-finals .word", has_text="public")
    expect(final).to_be_visible()
    assert violations(page) == []
    assert page.get_by_role("button", name="Stop").count() == 1
    page.keyboard.press("Enter")

    page.wait_for_selector(".has-sound .words")
    expect(page.locator(".page-head .chip")).to_have_text("Completed")
    job = console.ask(f"/v1/jobs/{page.url.rpartition('/')[2]}")
    assert (job["mode"], job["status"]) == ("live", "completed")
    text = console.ask(f"/v1/transcripts/{job['id']}")["text"]
    assert "public" in text
    page.click(".places [data-path=jobs]")
    expect(page.locator(f'[data-id="{job["id"]}"]')).to_contain_text("Live session")
    assert console.said == []


def test_a_file_played_live_whose_socket_is_cut_says_so_and_where_the_rest_is(console):
    page = console.page
    sockets = []

    def pass_on(socket):
        socket.connect_to_server()
        sockets.append(socket)

    page.route_web_socket("**/v1/live*", pass_on)
    console.sign_in()
    page.set_input_files("#live-file", str(FOLDER / "test_console.py"))
    expect(page.get_by_role("alert")).to_contain_text("Not audio that this browser")
    assert sockets == []
    page.set_input_files("#live-file", str(TRAIN))
    page.wait_for_selector(".live-interim:not(:empty), .live-finals .word")

    sockets[0].close(code=1011)

    expect(page.get_by_role("alert")).to_contain_text("The session was interrupted")
    expect(page.locator(".record-label")).to_have_text("Press to start")
    page.get_by_role("link", name="Open the saved transcript").click()
    expect(page.locator(".page-head h1")).to_have_text("Live session")


def test_without_a_microphone_or_event_streams_it_says_so_and_asks_again(console):
    page = console.page
    problem = {"status": 503, "code": "event_stream_unavailable", "detail": "None."}
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () =>"
        " Promise.reject(new DOMException('no', 'NotAllowedError'))"
    )
    page.route(
        re.compile(r"/v1/(.*/)?events(\?|$)"),
        lambda route: route.fulfill(
            status=503,
            body=json.dumps(problem),
            content_type="application/problem+json",
        ),
    )
    console.sign_in()
    page.click(".record")
    expect(page.get_by_role("alert")).to_contain_text("does not let this page use")
    assert violations(page) == []

    console.open("#/jobs")
    expect(page.locator(".live-state")).to_have_text("Every 4 seconds")
    page.context.set_offline(True)
    page.click(".places [data-path=batches]")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    assert violations(page) == []
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".empty, .batch")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_fits_and_axe_finds_nothing(browser, first_run, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme
    )
    console = Console(context.new_page(), first_run.ready())
    page = console.page
    console.open()
    seen = {"gate": looked_at(page, "#key", width)}
    console.sign_in()
    job = console.find_heard()["id"]
    for place, sign in {
        "#/live": ".record",
        "#/upload": ".drop",
        "#/jobs": ".job",
        "#/jobs?status=expired": ".empty",
        f"#/jobs/{job}": ".has-sound .words",
        "#/batches": ".empty",
    }.items():
        console.open(place)
        seen[place] = looked_at(page, sign, width)

    assert {place: found for place, found in seen.items() if found} == {}
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    other = {"light": "Dark", "dark": "Light"}[scheme]
    button = page.get_by_role("button", name="Colors")
    while other not in (button.get_attribute("title") or ""):
        button.click()
    assert page.evaluate(ground) != before
    assert violations(page) == []
    context.close()


def looked_at(page: Page, sign: str, width: int) -> list[str]:
    """Wait for a page, and return what is wrong with it."""
    page.wait_for_selector(sign)
    wide = page.evaluate("document.documentElement.scrollWidth")
    return violations(page) + ([f"{wide} wide"] if wide != width else [])
