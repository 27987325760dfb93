"""An operator looks into a job, hears it and has it told again, in headless Chromium."""

from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, sync_playwright

from jobs.models import Event, Job
from tests.support.chromium import launch, needs_chromium, violations
from tests.support.rich_job import make_rich_job
from workers.webhooks.models import WebhookDelivery

pytestmark = [pytest.mark.slow, needs_chromium]


def open_page(playwright: Any, site: str, cookie: str, said: list[str]) -> Page:
    """Return a page of somebody who is logged in; what goes wrong there is said."""
    context = launch(playwright).new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": site}]
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda asked: asked.url.startswith(site) or said.append(asked.url)
    )
    return page


def look_into(page: Page, address: str, said: list[str]) -> dict[str, Any]:
    """Go through a job's page; return what was seen there."""
    seen: dict[str, Any] = {}
    page.goto(address)
    seen["bars"] = page.locator(".chart rect").count()
    seen["hidden"] = page.locator("#said-here").inner_text()
    page.click("#show-content")
    page.wait_for_selector(".words .word")
    page.locator(".words .word", has_text="office").click()
    page.wait_for_selector(".word.lit")
    seen["lit"] = page.locator(".word.lit").first.inner_text()
    page.evaluate("document.querySelector('audio').pause()")
    seen["said"] = [*said]  # axe breaks the policy itself
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        seen[width] = page.evaluate("document.documentElement.scrollWidth")
        seen[f"axe {width}"] = violations(page)
    page.click("button[value=replay_webhooks]")
    page.wait_for_selector(".confirm")
    seen["says"] = page.inner_text(".confirm-says")
    seen["axe confirm"] = violations(page)
    page.click("input[value='Replay webhooks: 1 job']")
    page.wait_for_selector(".messagelist")
    seen["told"] = page.inner_text(".messagelist")
    seen["after"] = page.url
    return seen


def test_an_operator_looks_into_a_job_hears_it_and_has_it_told_again(
    transactional_db, live_server
):
    user = User.objects.create_superuser("ops")
    job = make_rich_job()
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    address = f"{live_server.url}/admin/jobs/job/{job.pk}/change/"
    said: list[str] = []

    with sync_playwright() as playwright:
        page = open_page(playwright, live_server.url, cookie, said)
        seen = look_into(page, address, said)

    assert (seen["bars"], seen["hidden"], seen["lit"]) == (9, "", "office")
    assert (seen[1280], seen[390]) == (1280, 390)
    assert [seen[f"axe {it}"] for it in (1280, 390, "confirm")] == [[], [], []]
    assert "again, with the same bodies" in seen["says"]
    assert (seen["told"], seen["after"]) == ("Replay webhooks: 1 done.", address)
    assert seen["said"] == []
    assert WebhookDelivery.objects.get().trigger == "manual"
    done = Event.objects.filter(job=Job(pk=job.pk), actor="admin:ops")
    assert set(done.values_list("type", flat=True)) == {
        *("job.audio_heard", "job.transcript_read"),
        "webhook_delivery.redelivered",
    }
