"""Every URL that leads inside, at every door where a customer may name one."""

import pytest

from jobs.models import Batch, Event, Job
from tests.netns import cases
from tests.support.api import Api
from workers.webhooks.models import WebhookEndpoint

GOOD = "https://pub.example/a.wav"
REFUSED = {
    case.url: case.create
    for case in cases.CASES
    # No text, and text that no column holds, are refused before they are URLs.
    if case.create and case.url and "\0" not in case.url
}


@pytest.fixture(autouse=True)
def _plain_http_is_allowed(settings) -> None:
    """Let nothing be refused for its scheme alone."""
    settings.WEBHOOK_SCHEMES = ["https", "http"]


def change_endpoint(api: Api, url: str):
    endpoint = WebhookEndpoint.objects.get_or_create(tenant=api.tenant, url=GOOD)[0]
    return api.client.patch(
        f"/v1/webhook-endpoints/{endpoint.pk}",
        {"url": url},
        content_type="application/json",
        headers=api.headers(),
    )


DOORS = {
    "a job's audio": lambda api, url: api.post("/v1/jobs", {"audio_url": url}),
    "a job's callback": lambda api, url: api.post(
        "/v1/jobs", {"audio_url": GOOD, "callback_url": url}
    ),
    "a batch's audio": lambda api, url: api.post(
        "/v1/batches", {"items": [{"audio_url": GOOD}, {"audio_url": url}]}
    ),
    "a batch's callback": lambda api, url: api.post(
        "/v1/batches", {"items": [{"audio_url": GOOD}], "callback_url": url}
    ),
    "transcribe": lambda api, url: api.post("/v1/transcribe", {"audio_url": url}),
    "a new endpoint": lambda api, url: api.post("/v1/webhook-endpoints", {"url": url}),
    "an endpoint's change": change_endpoint,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_url_that_leads_inside_is_refused_and_nothing_is_written(api, door):
    answers = {url: DOORS[door](api, url) for url in REFUSED}

    ends = {
        url: (each.status_code, each.json()["code"]) for url, each in answers.items()
    }
    assert ends == {url: (400, code) for url, code in REFUSED.items()}
    assert len({each.json()["detail"] for each in answers.values()}) == 2
    assert [model.objects.count() for model in (Job, Batch, Event)] == [0, 0, 0]
    assert set(WebhookEndpoint.objects.values_list("url", flat=True)) <= {GOOD}
