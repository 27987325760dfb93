"""`/metrics` at the public door; the ports of processes are in tests/e2e."""

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from jobs import calls, services
from jobs.models import Attempt
from jobs.state import JobStatus
from jobs.telemetry import metrics
from tests.support.factories import make_attempt, make_job


def get_metrics(**headers):
    return Client().get("/metrics", headers=headers)


def value(counter, *labels):
    return counter.labels(*labels)._value.get() if labels else counter._value.get()


def test_this_machine_sees_metrics_and_others_see_nothing():
    told = get_metrics()
    names = {each.name for each in text_string_to_metric_families(told.text)}

    assert told.status_code == 200
    assert {"transcription_requests", "transcription_latency_seconds"} <= names
    assert not [name for name in names if name.endswith("_created")]
    assert Client(REMOTE_ADDR="10.0.0.9").get("/metrics").status_code == 404


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_a_proxy_on_this_machine_is_not_this_machine(header):
    assert get_metrics(**{header: "127.0.0.1"}).status_code == 404


def test_with_a_token_the_token_counts_and_nothing_else(settings):
    settings.METRICS_TOKEN = "s3cret-token"

    assert get_metrics().status_code == 403
    assert get_metrics(authorization="Bearer s3cret").status_code == 403
    assert get_metrics(authorization="Bearer s3cret-token").status_code == 200
    far = Client(REMOTE_ADDR="10.0.0.9")
    wanted = {"authorization": "Bearer s3cret-token"}
    assert far.get("/metrics", headers=wanted).status_code == 200


def test_other_methods_are_refused():
    assert Client().post("/metrics").status_code == 405


def test_jobs_and_calls_are_counted_once_committed(transactional_db):
    ended = (metrics.REQUESTS, "canceled", "nova-3", "none")
    called = (metrics.CALLS, "local", "prerecorded", "error", "429")
    submitted = (metrics.SUBMITTED, "async")
    before = [value(*each) for each in (ended, called, submitted)]

    job = make_job()
    services.cancel_job(job=job, now=timezone.now())
    services.cancel_job(job=job, now=timezone.now())  # changes nothing
    attempt = make_attempt(make_job(status=JobStatus.PROCESSING), outcome="open")
    for _ in range(2):
        facts = calls.CallFacts(
            attempt=attempt,
            outcome=Attempt.Outcome.ERROR,
            status_code=429,
            error_code="upstream_rate_limited",
        )
        calls.close_attempts([facts], now=timezone.now())

    after = [value(*each) for each in (ended, called, submitted)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 2]
