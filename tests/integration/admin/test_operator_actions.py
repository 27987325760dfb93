"""What operators press: asked first, done by the services, audited, told by kind."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.admin import actions as admin_actions
from jobs.models import AuditEntry, Batch, Event, Job, Region
from tests.support.factories import make_job, make_region, make_tenant
from tests.support.webhooks import make_delivery, make_endpoint
from workers.admin_site import roles
from workers.webhooks.models import WebhookSecret


def log_in(role):
    roles.make_roles()
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def boss(db):
    return log_in("administrator")


def press(client, page, action, *rows, **given):
    app = "webhooks" if page.startswith("webhook") else "jobs"
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(f"/admin/{app}/{page}/", chosen | given, follow=True)


def confirm(client, page, action, *rows, **given):
    answer = press(client, page, action, *rows, confirmed=1, **given)
    return [str(message) for message in answer.context["messages"]]


def audited():
    return [
        (event.type, event.actor)
        for event in Event.objects.filter(actor__startswith="admin:").order_by("pk")
    ]


def make_batch(*, failed=0, **fields):
    tenant = make_tenant()
    fields = {"total": 1} | fields
    if failed:
        fields |= {"failed": failed, "total": failed, "finished_at": timezone.now()}
    batch = Batch.objects.create(tenant=tenant, **fields)
    for _ in range(fields["total"]):
        job = make_job(tenant, status="failed" if failed else "queued")
        Job.objects.filter(pk=job.pk).update(batch=batch)
    return batch


def test_it_is_asked_first_what_will_happen_and_to_how_many(boss):
    jobs = [make_job() for _ in range(3)]
    before = Event.objects.count()

    page = press(boss, "job", "cancel", *jobs, back="/admin/jobs/job/?status=queued")

    text = page.content.decode()
    assert "Running calls are abandoned" in text
    assert 'value="Cancel: 3 jobs"' in text
    assert 'href="/admin/jobs/job/?status=queued"' in text
    chosen = re.findall(r'name="_selected_action" value="([^"]+)"', text)
    assert set(chosen) == {str(job.pk) for job in jobs}
    assert Event.objects.count() == before
    assert set(Job.objects.values_list("status", flat=True)) == {"queued"}


def test_what_is_asked_for_by_a_form_is_asked_again_when_it_is_wrong(boss):
    job = make_job()

    answer = press(boss, "job", "reprioritize", job, confirmed=1, priority=7)

    assert "Select a valid choice" in answer.content.decode()
    job.refresh_from_db()
    assert (job.priority, audited()) == (6, [])


def test_every_kind_is_told_with_its_reason(boss):
    waiting, canceled = make_job(), make_job(status="canceled")
    done = [make_job(status="completed") for _ in range(4)]

    told = confirm(boss, "job", "cancel", waiting, canceled, *done)

    assert told[0] == "Cancel: 2 done."
    reason = "The job is completed: it cannot be canceled."
    assert told[1].startswith(f"Cancel: 4 rejected. {reason} (")
    assert told[1].endswith(", …)")
    assert len(told) == 2
    assert audited() == [("job.canceled", "admin:administrator")]


def test_a_million_rows_are_neither_loaded_nor_changed(boss, monkeypatch):
    monkeypatch.setattr(admin_actions, "MAX_ROWS", 2)
    jobs = [make_job() for _ in range(4)]

    with CaptureQueriesContext(
        connection,
    ) as asked:
        page = press(boss, "job", "cancel", jobs[0], select_across=1, confirmed=1)

    assert "Filter the list" in page.content.decode()
    read = [q["sql"] for q in asked if 'FROM "jobs_job"' in q["sql"]]
    assert any("LIMIT 3" in sql for sql in read)
    assert set(Job.objects.values_list("status", flat=True)) == {"queued"}
    assert audited() == []


def test_nobody_is_led_elsewhere_afterwards(boss):
    for back in ("https://evil.example/", "//evil.example/", "/admin/auth/user/"):
        chosen = {"action": "cancel", "_selected_action": [str(make_job().pk)]}
        answer = boss.post("/admin/jobs/job/", chosen | {"confirmed": 1, "back": back})
        assert answer.headers["Location"] == "/admin/jobs/job/"


def test_jobs_move_up_but_no_higher_than_their_tenant_may(boss):
    high, low = make_job(), make_job(make_tenant(highest_priority=3))

    told = confirm(boss, "job", "reprioritize", high, low, priority=0)

    assert told[0] == "Change priority: 1 done."
    assert "exceeds your account's highest priority" in told[1]
    assert [(job.priority) for job in (Job.objects.get(pk=high.pk), low)] == [0, 6]
    (entry,) = AuditEntry.objects.all()
    assert (entry.type, entry.actor) == ("job.reprioritized", "admin:administrator")
    assert (entry.job, entry.data) == (high, {"priority": 0})


def test_jobs_are_erased_when_they_have_ended(boss):
    done, waiting = make_job(status="completed", metadata={"a": 1}), make_job()

    told = confirm(boss, "job", "erase", done, waiting)

    done.refresh_from_db()
    assert (done.metadata, done.erased_at is None) == ({}, False)
    assert told[0] == "Erase permanently: 1 done."
    assert "cancel it or wait until it ends" in told[1]
    assert audited() == [("job.erased", "admin:administrator")]


def test_what_was_told_of_a_job_is_told_again(boss):
    delivery, untold = make_delivery(), make_job(status="failed")

    told = confirm(boss, "job", "replay_webhooks", delivery.job, untold)

    delivery.refresh_from_db()
    assert (delivery.trigger, delivery.next_attempt_at is None) == ("manual", False)
    assert told[0] == "Replay webhooks: 1 done."
    assert "The job has no webhook deliveries." in told[1]
    assert audited() == [("webhook_delivery.redelivered", "admin:administrator")]


@pytest.mark.parametrize(
    ("action", "given", "changed", "audit"),
    [
        ("pause", {}, {"is_paused": True}, "batch.paused"),
        ("cancel", {}, {}, "batch.canceled"),
        (
            "reprioritize",
            {"priority": 9},
            {"wanted_priority": 9},
            "batch.reprioritized",
        ),
    ],
)
def test_batches_are_steered(boss, action, given, changed, audit):
    batch, ended = make_batch(), make_batch(failed=1)

    told = confirm(boss, "batch", action, batch, ended, **given)

    batch.refresh_from_db()
    for name, value in changed.items():
        assert getattr(batch, name) == value
    assert (batch.cancel_requested_at is not None) == (action == "cancel")
    assert batch.work_at is not None
    assert "1 rejected. The batch is completed." in told[1]
    assert audited() == [(audit, "admin:administrator")]


def test_a_paused_batch_goes_on(boss):
    batch = make_batch(is_paused=True)

    confirm(boss, "batch", "resume", batch)

    batch.refresh_from_db()
    assert not batch.is_paused
    assert audited() == [("batch.resumed", "admin:administrator")]


def test_what_failed_of_a_batch_is_a_new_batch(boss):
    failed, open_ = make_batch(failed=2), make_batch()

    told = confirm(boss, "batch", "retry_failed", failed, open_)

    child = Batch.objects.get(retry_of=failed)
    assert (child.total, child.jobs.count()) == (2, 2)
    assert "it has not ended yet" in told[1]
    assert audited() == [("batch.retried", "admin:administrator")]
    assert Event.objects.get(type="batch.retried").data == {
        "batch_id": str(child.pk),
        "retry_of": str(failed.pk),
    }


def test_endpoints_are_switched_off_and_on(boss):
    on, off = make_endpoint(), make_endpoint(is_enabled=False)
    pending = make_delivery(
        endpoint=on,
        status="pending",
        finished_at=None,
        next_attempt_at=timezone.now(),
    )

    told_off = confirm(boss, "webhookendpoint", "disable", on, off)
    told_on = confirm(boss, "webhookendpoint", "enable", off)

    on.refresh_from_db()
    off.refresh_from_db()
    pending.refresh_from_db()
    assert (on.is_enabled, off.is_enabled, pending.status) == (False, True, "discarded")
    assert "The endpoint is already disabled." in told_off[1]
    assert told_on == ["Enable: 1 done."]
    assert audited() == [("webhook_endpoint.updated", "admin:administrator")] * 2


def test_an_endpoint_gets_what_it_did_not_take(boss):
    delivery = make_delivery()

    confirm(boss, "webhookendpoint", "replay", delivery.endpoint, hours=24)

    delivery.refresh_from_db()
    assert delivery.status == "pending"
    assert audited() == [("webhook_endpoint.recovered", "admin:administrator")]


def test_a_new_secret_is_shown_once_and_the_old_one_signs_on(boss):
    endpoint = make_endpoint()

    first = press(
        boss, "webhookendpoint", "rotate_secret", endpoint, confirmed=1, grace_hours=0
    )
    press(
        boss, "webhookendpoint", "rotate_secret", endpoint, confirmed=1, grace_hours=1
    )

    (secret,) = re.findall(r"<code>(whsec_[^<]+)</code>", first.content.decode())
    assert first.headers["Cache-Control"].startswith("no-store")
    old, new = WebhookSecret.objects.filter(endpoint=endpoint).order_by("pk")
    assert new.expires_at is None
    left = old.expires_at - timezone.now()
    assert timedelta(minutes=59) < left < timedelta(minutes=61)
    assert secret not in str(list(Event.objects.values()))
    assert audited() == [("webhook_endpoint.secret_rotated", "admin:administrator")] * 2


# Every action there is, by the weakest role that has it.
WEAKEST = {
    "operator": [
        *(("job", name) for name in ("cancel", "retry", "reprioritize")),
        ("job", "replay_webhooks"),
        *(("tenant", name) for name in ("pause", "resume")),
        *(("batch", name) for name in ("pause", "resume", "cancel")),
        *(("batch", name) for name in ("reprioritize", "retry_failed")),
        *(("region", name) for name in ("drain", "undrain", "pin", "unpin")),
        *(("webhookendpoint", name) for name in ("enable", "disable", "replay")),
        ("webhookdelivery", "redeliver"),
    ],
    "administrator": [("job", "erase"), ("webhookendpoint", "rotate_secret")],
}


def test_each_role_presses_what_it_may_and_nothing_else(db):
    delivery = make_delivery()
    rows = {
        "job": delivery.job,
        "tenant": delivery.tenant,
        "batch": make_batch(),
        "region": make_region(),
        "webhookendpoint": delivery.endpoint,
        "webhookdelivery": delivery,
    }
    clients = {role: log_in(role) for role in ("viewer", "operator", "administrator")}
    order = list(clients)
    before = Event.objects.count()

    for weakest, actions in WEAKEST.items():
        for page, action in actions:
            for role, client in clients.items():
                answer = press(client, page, action, rows[page])
                is_asked = 'name="confirmed"' in answer.content.decode()
                may = order.index(role) >= order.index(weakest)
                assert is_asked == may, (role, page, action)
                if not may:  # nor by saying that it was asked
                    given = {"priority": 0, "grace_hours": 0, "hours": 1}
                    press(client, page, action, rows[page], confirmed=1, **given)
    assert Event.objects.count() == before
    assert not Region.objects.filter(is_drained=True).exists()
