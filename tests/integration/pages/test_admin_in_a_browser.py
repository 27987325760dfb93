"""Operators at work, in headless Chromium."""

from threading import Thread

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connections
from django.test import Client
from playwright.sync_api import expect, sync_playwright

from jobs.models import Tenant
from tests.support.chromium import launch, needs_chromium, violations
from tests.support.factories import make_job, make_region, make_tenant
from workers.admin_site import roles
from workers.admin_site import statistics as admin_site_statistics
from workers.monitoring import activity

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def site(transactional_db, live_server) -> str:
    User.objects.create_superuser("ops", password="a-long-passphrase")
    make_job(make_tenant(name="acme"), status="failed")
    look_anew()
    return str(live_server.url)


@pytest.fixture
def viewers_cookie(site) -> dict[str, str]:
    """Return a session, as hashing another password would take a second."""
    roles.make_roles()
    user = User.objects.create(username="vera", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    client = Client()
    client.force_login(user)
    value = client.cookies[settings.SESSION_COOKIE_NAME].value
    return {"name": settings.SESSION_COOKIE_NAME, "value": value, "url": site}


def look_anew() -> None:
    for kept in (
        admin_site_statistics.read_now,
        admin_site_statistics.read_today,
        activity.minutes,
        activity.hours,
    ):
        kept.forget()


def meanwhile(do) -> None:
    """Change rows in a thread: Playwright's has an event loop, where Django refuses."""

    def run():
        do()
        look_anew()
        connections.close_all()

    thread = Thread(target=run)
    thread.start()
    thread.join()


def watch(page, site):
    """Return what the page says to its console, and asks of others."""
    heard = []
    page.on("console", lambda said: heard.append(said.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(site) else heard.append(asked.url),
    )
    return heard


def sees(page, selector: str, text: str) -> None:
    """Wait until something holds a text; a test that waits in vain says what it saw."""
    expect(page.locator(selector)).to_contain_text(text, timeout=15_000)


def test_an_operator_logs_in_looks_and_pauses_a_tenant(site):
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page()
        page.set_default_timeout(15_000)
        heard = watch(page, site)
        page.goto(f"{site}/admin/login/?next=/admin/")
        page.fill("#id_username", "ops")
        page.fill("#id_password", "a-long-passphrase")
        page.click("input[type=submit]")
        page.wait_for_url(f"{site}/admin/")
        sees(page, "#nav-sidebar", "Tenants")
        sees(page, "#troubles", "Workers: none is alive.")
        page.wait_for_selector("#panel-jobs svg .failed")
        page.click("#tiles a:text('Failed')")
        page.wait_for_url("**/admin/jobs/job/?status__exact=failed")
        sees(page, "#result_list", "Failed")
        page.fill("#searchbar", "nobody")
        page.click("#changelist-search input[type=submit]")
        sees(page, ".paginator", "Nothing found.")
        assert "status__exact=failed" in page.url
        page.goto(f"{site}/admin/jobs/tenant/")
        page.check("#action-toggle")
        page.select_option("select[name=action]", label="Pause")
        page.click("button[name=index]")
        page.click("input[value='Pause: 1 tenant']")
        page.wait_for_selector(".messagelist")
        browser.close()

    assert Tenant.objects.get(name="acme").is_paused
    assert heard == []


def test_a_viewer_sees_the_platform_change_and_can_press_nothing(site, viewers_cookie):
    with sync_playwright() as playwright:
        browser = launch(playwright)
        context = browser.new_context(
            color_scheme="dark", viewport={"width": 390, "height": 844}
        )
        context.add_cookies([viewers_cookie])
        page = context.new_page()
        page.set_default_timeout(15_000)
        heard = watch(page, site)
        page.goto(f"{site}/admin/")
        sees(page, "#user-tools", "viewer")
        sees(page, "#panel-backlog", "The queue is empty.")
        sees(page, "#panel-cost", "$")
        assert page.evaluate("document.documentElement.scrollWidth") == 390

        page.click("#hold")
        meanwhile(lambda: (make_job(make_tenant(name="globex")), make_region("eu")))
        sees(page, "#freshness", "Paused")
        page.click("#hold")
        sees(page, "#panel-backlog", "globex")
        sees(page, "#panel-regions", "0 / 980")
        assert heard == []
        assert violations(page) == []

        context.route("**/admin/figures/**", lambda route: route.abort())
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        sees(page, "#freshness", "The server does not respond.")
        assert "old" in page.get_attribute("#dashboard", "class")

        page.goto(f"{site}/admin/jobs/job/")
        sees(page, "#result_list", "globex")
        assert page.query_selector("select[name=action]") is None
        assert page.query_selector("a.addlink") is None
        assert violations(page) == []
        browser.close()
