"""The dashboard's figures, off real rows and a real Redis."""

import socket
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from jobs.models import Event, Job, Worker
from jobs.scheduling.claims import Permit, PermitKind
from tests.support.factories import make_attempt, make_job, make_region, make_tenant
from workers.admin_site import statistics as admin_site_statistics
from workers.monitoring import activity, backlog
from workers.ratelimit.permits import get_permit_reader, get_permits
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint


@pytest.fixture(autouse=True)
def fresh(db):
    for kept in (
        admin_site_statistics.read_now,
        admin_site_statistics.read_today,
        activity.minutes,
        activity.hours,
    ):
        kept.forget()
    get_permits()._client.flushdb()
    yield
    get_permits()._client.flushdb()


def end(tenant, status, *, minutes_ago, took):
    at = timezone.now() - timedelta(minutes=minutes_ago)
    job = make_job(tenant, status=status)
    Job.objects.filter(pk=job.pk).update(
        finished_at=at, created_at=at - timedelta(seconds=took)
    )
    return job


def test_jobs_are_counted_by_the_minute_they_ended_in():
    tenant = make_tenant()
    for took in (1, 2, 30):
        end(tenant, "completed", minutes_ago=5, took=took)
    end(tenant, "failed", minutes_ago=5, took=1)
    end(tenant, "canceled", minutes_ago=70, took=1)

    minutes = admin_site_statistics.read_now()["minutes"]

    assert len(minutes) == 61
    busy = [each for each in minutes if each["ended"]]
    assert [each["ended"] for each in busy] == [{"completed": 3, "failed": 1}]
    assert busy[0]["seconds"] == [2.0, 30.0, 30.0]


def test_the_backlog_is_audio_by_tenant_and_priority(monkeypatch):
    acme, other = make_tenant(name="acme"), make_tenant()
    for tenant, priority, seconds in (
        (acme, 0, 60),
        (acme, 6, 120),
        (acme, 6, None),
        (other, 9, 30),
    ):
        job = make_job(tenant, priority=priority)
        Job.objects.filter(pk=job.pk).update(duration_seconds=seconds)
    held = make_job(other)
    Job.objects.filter(pk=held.pk).update(ready=False)

    waiting = admin_site_statistics.read_now()["backlog"]

    assert (waiting["jobs"], waiting["later"], waiting["is_estimate"]) == (4, 1, False)
    assert waiting["audio_seconds"] == 330
    first, second = waiting["tenants"]
    assert (first["name"], first["jobs"]) == ("acme", 3)
    assert first["seconds"] == {"Urgent": 60, "Normal": 240}
    assert second["seconds"] == {"Low": 30}

    monkeypatch.setattr(backlog, "MAX_COUNTED", 2)
    estimate = backlog.read_backlog()
    assert estimate.is_estimate is False  # so small a table is read whole
    assert estimate.jobs == 4


def test_permits_and_breakers_are_looked_at_and_left_alone():
    make_region("eu", max_concurrent=2, max_per_minute=10, is_pinned=True)
    permits = get_permits()
    permits._run("eu", "seed", kind=PermitKind.PRERECORDED, permits=[], ages=[0])
    held = [
        Permit(member=f"{n}:1", pools=(), kind=PermitKind.PRERECORDED) for n in range(2)
    ]
    permits.renew("eu", held)
    permits.renew("eu", [Permit(member="s:1", pools=(), kind=PermitKind.STREAM)])

    (region,) = admin_site_statistics.read_now()["regions"]
    assert [each["used"] for each in region["limits"]] == [2, 1, 1]
    assert [each["limit"] for each in region["limits"]] == [2, 10, 50]
    assert (region["state"], region["breaker"]) == ("pinned", "closed")
    texts = [each["text"] for each in admin_site_statistics.read_now()["troubles"]]
    assert "Region eu: calls at the limit." in texts

    permits.cool_down("eu", seconds=30)
    for _ in range(10):
        permits.breaker.record("eu", well=False)
    admin_site_statistics.read_now.forget()
    (region,) = admin_site_statistics.read_now()["regions"]
    assert (region["state"], region["breaker"]) == ("breaker open", "open")
    assert 29 <= region["cooldown_seconds"] <= 30
    state = "breaker:{eu}:state"
    permits._client.hset(state, "open_until", 1)
    admin_site_statistics.read_now.forget()
    assert admin_site_statistics.read_now()["regions"][0]["breaker"] == "trying"
    assert permits._client.hget(state, "trial_until") is None


def test_without_redis_the_rest_is_there(monkeypatch, settings):
    make_region("eu", is_drained=True)
    make_region("us")
    make_job()
    # Nobody answers there, and nothing is refused either.
    with socket.create_server(("127.0.0.1", 0), backlog=1) as deaf:
        settings.REDIS_URL = f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"
        away = get_permit_reader.__wrapped__()
        monkeypatch.setattr(admin_site_statistics, "get_permit_reader", lambda: away)
        began = time.monotonic()
        now = admin_site_statistics.read_now()
        took = time.monotonic() - began

    assert took < 1.5
    assert now["is_redis_away"] is True
    assert [each["state"] for each in now["regions"]] == ["drained", "unknown"]
    assert now["backlog"]["jobs"] == 1
    assert [each["text"] for each in now["troubles"]] == [
        "Redis: does not respond for eu, us: jobs are accepted and wait.",
        "Workers: none is alive.",
        "Webhooks: none is alive.",
        "Dispatcher: no heartbeat yet.",
        "Beat: no heartbeat yet.",
        "Region eu is drained by an operator.",
    ]


def test_workers_that_fell_silent_are_told_from_the_living():
    now = timezone.now()
    Worker.objects.create(name="a", slots=4, busy=3, seen_at=now)
    Worker.objects.create(name="b", slots=8, busy=8, seen_at=now - timedelta(minutes=1))
    # Doors: they keep leases and take no work, and nobody misses one that is gone.
    Worker.objects.create(name="c", slots=0, busy=2, seen_at=now)
    Worker.objects.create(name="d", slots=0, seen_at=now - timedelta(minutes=1))

    workers = admin_site_statistics.read_now()["workers"]

    assert (workers["alive"], workers["stale"]) == (1, 1)
    assert (workers["busy"], workers["slots"]) == (3, 4)
    assert [each["name"] for each in workers["shown"]] == ["b", "a"]


def test_webhooks_are_judged_by_their_last_hour_and_name_no_secret():
    job, now = make_job(), timezone.now()
    endpoint = WebhookEndpoint.objects.create(
        tenant=job.tenant, url="https://hooks.example.com/in?token=SECRET"
    )
    facts = {
        "tenant": job.tenant,
        "event": Event.objects.first(),
        "created_at": now,
        "next_attempt_at": now,
    }
    to_endpoint = WebhookDelivery.objects.create(endpoint=endpoint, target="x", **facts)
    called = WebhookDelivery.objects.create(
        url="https://cb.example.com/?t=SECRET",
        target=f"{job.tenant_id.hex} cb.example.com",
        **facts,
    )
    old = now - timedelta(hours=2)
    for token, (delivery, at, code, ms) in enumerate(
        [
            (to_endpoint, now, 200, 40),
            (to_endpoint, now, 503, 900),
            (called, now, 204, 20),
            (called, old, 500, 9999),
        ]
    ):
        DeliveryAttempt.objects.create(
            delivery=delivery,
            claim_token=token,
            started_at=at,
            status_code=code,
            duration_ms=ms,
        )

    hooks = admin_site_statistics.read_now()["webhooks"]

    assert (hooks["attempts"], hooks["succeeded"], hooks["targets"]) == (3, 2, 2)
    slowest, other = hooks["slowest"]
    assert (slowest["host"], slowest["endpoint"]) == (
        "hooks.example.com",
        endpoint.pk,
    )
    assert (slowest["p50_ms"], slowest["p95_ms"], slowest["succeeded"]) == (40, 900, 1)
    assert (other["host"], other["endpoint"]) == ("cb.example.com", None)
    assert "SECRET" not in str(hooks)


def test_today_is_summed_from_the_ledger(monkeypatch):
    monkeypatch.setattr(activity, "TODAY_SECONDS", 60)
    now = timezone.now()
    midnight = datetime.combine(now.date(), datetime.min.time(), UTC)
    acme, other = (
        make_job(make_tenant(name="acme")),
        make_job(make_tenant(name="other")),
    )
    make_attempt(acme, at=now, audio_seconds=3600, cost_estimate="0.50")
    make_attempt(other, at=midnight, audio_seconds=60, cost_estimate="0.25")
    make_attempt(other, at=now, outcome="error")
    make_attempt(other, at=midnight - timedelta(seconds=1), cost_estimate="9")

    today = admin_site_statistics.read_today()

    assert (today["cost"], today["calls"], today["audio_seconds"]) == (0.75, 3, 3660)
    assert [(each["name"], each["cost"]) for each in today["top"]] == [
        ("acme", 0.5),
        ("other", 0.25),
    ]
    assert len(today["cost_by_hour"]) == now.hour + 1
    assert sum(today["cost_by_hour"]) == 0.75


def test_a_long_day_is_summed_in_several_looks(monkeypatch):
    monkeypatch.setattr(activity, "TODAY_SECONDS", 0)
    monkeypatch.setattr(
        timezone, "now", lambda: datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
    )

    looks = [admin_site_statistics.read_today()["is_whole"] for _ in range(10)]

    # Two hours may still change, and each look takes one more of the other eight.
    assert looks == [False] * 7 + [True] * 3


def test_one_look_serves_all_who_look_within_two_seconds():
    assert admin_site_statistics.read_now() is admin_site_statistics.read_now()
    before = admin_site_statistics.read_now()
    admin_site_statistics.read_now.forget()
    assert admin_site_statistics.read_now() is not before
