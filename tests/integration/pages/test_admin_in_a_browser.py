"""An operator at work, in headless Chromium."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import sync_playwright

from jobs.models import Tenant
from tests.chromium import launch, needs_chromium
from tests.factories import make_job, make_tenant

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def site(transactional_db, live_server) -> str:
    User.objects.create_superuser("ops", password="a-long-passphrase")
    make_job(make_tenant(name="acme"), status="failed")
    return str(live_server.url)


def pause_a_tenant(site: str) -> list[str]:
    """Log in, look at the jobs, pause a tenant; return what was to be read."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page()
        page.set_default_timeout(15_000)
        read = []
        page.goto(f"{site}/admin/login/?next=/admin/")
        page.fill("#id_username", "ops")
        page.fill("#id_password", "a-long-passphrase")
        page.click("input[type=submit]")
        page.wait_for_url(f"{site}/admin/")
        read.append(page.inner_text("#content"))
        page.goto(f"{site}/admin/jobs/job/")
        read.append(page.inner_text("#result_list"))
        page.goto(f"{site}/admin/jobs/tenant/")
        page.check("#action-toggle")
        page.select_option("select[name=action]", label="Pause")
        page.click("button[name=index]")
        page.click("input[value='Pause: 1 tenant']")
        page.wait_for_selector(".messagelist")
        read.append(page.inner_text("#main"))
        browser.close()
    return read


def test_an_operator_logs_in_looks_and_pauses_a_tenant(site):
    home, jobs, _ = pause_a_tenant(site)

    assert "Tenants" in home
    assert "Failed" in jobs
    assert Tenant.objects.get(name="acme").is_paused
