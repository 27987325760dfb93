"""Lists of what was written down: found by index, nothing counted, nothing in vain."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.accounts import audit
from jobs.models import AuditEntry, Event, Worker
from tests.support.factories import make_attempt, make_job
from tests.support.webhooks import make_delivery
from workers.webhooks.models import WebhookDelivery


@pytest.fixture
def ada(db):
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def listed(client, page, **query):
    app = "webhooks" if page.startswith("webhook") else "jobs"
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(f"/admin/{app}/{page}/", query)
    assert answer.status_code == 200
    assert not [q["sql"] for q in asked if "COUNT(" in q["sql"]]
    return list(answer.context["cl"].result_list)


def plan_of(rows):
    """Return how the rows are found where reading the whole table is dear."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    return rows.explain()


def test_the_audit_log_is_of_what_somebody_did(ada):
    job = make_job(status="canceled")
    now = timezone.now()
    by_ada = audit.record(
        type="job.canceled", actor="admin:ada", at=now, tenant=job.tenant, job=job
    )
    by_key = audit.record(type="region.drain", actor="key:Ab12", at=now, region="eu")
    queued = Event.objects.get(type="job.queued")
    Event.objects.filter(pk=queued.pk).update(actor="key:Ab12")

    def found(**query):
        return [entry.pk for entry in listed(ada, "auditentry", **query)]

    assert found() == [by_key.pk, by_ada.pk]
    assert found(actor="admin:ada") == [by_ada.pk]
    assert found(q="key:Ab12") == [by_key.pk]
    assert found(q=str(job.pk)) == [by_ada.pk]
    assert found(q="nonsense") == []
    page = ada.get("/admin/jobs/auditentry/").content.decode()
    assert f"/admin/jobs/job/{job.pk}/change/" in page
    assert "region eu" in page


def test_the_audit_log_is_read_by_indexes_of_its_own(db):
    newest = AuditEntry.objects.order_by("-id")

    assert "event_done" in plan_of(newest[:100])
    assert "event_by_actor" in plan_of(newest.filter(actor="admin:ada")[:100])
    missed = WebhookDelivery.objects.filter(status__in=["failed", "discarded"])
    assert "delivery_not_taken" in plan_of(missed.order_by("-pk")[:100])


def test_calls_events_and_deliveries_are_found_by_any_id_of_theirs(ada):
    delivery, other = make_delivery(), make_delivery(status="discarded")
    job = delivery.job
    call = make_attempt(job, request_id="dg-17")
    make_attempt(make_job(), outcome="error")

    assert listed(ada, "attempt", q="dg-17") == [call]
    assert listed(ada, "attempt", q=job.pk) == [call]
    assert len(listed(ada, "attempt", outcome="error")) == 1
    assert {event.job_id for event in listed(ada, "event", q=job.pk)} == {job.pk}
    for named in (delivery.pk, job.pk, delivery.endpoint_id, delivery.event_id):
        assert listed(ada, "webhookdelivery", q=named) == [delivery]
    assert listed(ada, "webhookdelivery", status="missed") == [other, delivery]
    assert listed(ada, "webhookdelivery", status="discarded") == [other]
    assert listed(ada, "webhookdelivery", status="pending") == []


def test_a_silent_worker_is_marked(ada):
    now = timezone.now()
    for name, ago in (("alive-1", 1), ("gone-1", 60)):
        Worker.objects.create(
            name=name,
            queues=["transcribe.eu"],
            slots=20,
            busy=3,
            seen_at=now - timedelta(seconds=ago),
        )

    page = ada.get("/admin/jobs/worker/").content.decode()

    alive, gone = page.index("alive-1"), page.index("gone-1")
    assert ">alive</span>" in page[alive:gone]
    assert ">silent</span>" in page[gone:]
    assert "60 s ago" in page[gone:] or "61 s ago" in page[gone:]
    assert [worker.name for worker in listed(ada, "worker", q="gone")] == ["gone-1"]
