"""A batch's life: written in slices, opened at once, steered, done again."""

import gzip
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from jobs import calls, services
from jobs.batches import retry, sweeper, writing
from jobs.models import (
    Attempt,
    Batch,
    BatchError,
    Event,
    IdempotencyKey,
    Job,
    QuotaCounter,
)
from jobs.quotas import counters as quota_counts
from jobs.scheduling import leases
from jobs.state import JobStatus
from tests.support.api import Api, assert_problem
from tests.support.factories import make_attempt, make_region
from tests.support.manifests import jsonl, line, send_manifest
from workers.webhooks.delivery import fan_out as webhooks

SLICES = (writing, sweeper, retry)


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    for module in SLICES:
        monkeypatch.setattr(module, "SLICE", 2)


def fan_out():
    return webhooks.fan_out(limit=10_000, now=timezone.now())


def work(times=20):
    """Go on until nothing is left to do, as if the pauses were over."""
    for _ in range(times):
        Batch.objects.filter(work_at__isnull=False).update(work_at=timezone.now())
        if not sweeper.sweep_batches(now=timezone.now()):
            return
    raise AssertionError("it never ends")


def submit_manifest(api, number=5, query="", **fields):
    answer = send_manifest(api, jsonl(line(n, **fields) for n in range(number)), query)
    assert answer.status_code == 202, answer.content
    return Batch.objects.get(pk=answer.json()["id"])


def opened(api, number=5, query="", **fields):
    batch = submit_manifest(api, number, query, **fields)
    work()
    return batch


def end(jobs, to=JobStatus.COMPLETED, **changes):
    """Bring queued jobs to an end as the engine does."""
    for job in jobs:
        rows = Job.objects.filter(pk=job.pk)
        services.advance(
            rows, to=JobStatus.PROCESSING, at=timezone.now(), region=make_region(),
            lease_token=job.lease_token + 1,
            lease_until=timezone.now() + timedelta(seconds=30),
        )  # fmt: skip
        failed = {"error_code": "upstream_error", "error_detail": "It failed."}
        if to == JobStatus.FAILED:
            changes = failed
        make_attempt(job, outcome="ok" if to == JobStatus.COMPLETED else "error")
        services.advance(rows, to=to, at=timezone.now(), **changes)
    fan_out()


def steer(api, batch, action, body=None, **headers):
    return api.post(f"/v1/batches/{batch.pk}/{action}", body=body, headers=headers)


def audited(batch):
    rows = Event.objects.filter(data__batch_id=str(batch.pk), job=None)
    return [(event.type, event.actor) for event in rows.order_by("pk")]


def jobs_of(batch):
    return list(Job.objects.filter(batch=batch).order_by("pk"))


# --- written in slices


def test_a_large_batch_opens_at_once_and_its_jobs_are_released_in_slices(api):
    batch = submit_manifest(api, 5)

    listed = api.get(f"/v1/jobs?batch_id={batch.pk}").json()["data"]
    held = [(job.ready, job.run_at) for job in jobs_of(batch)]
    told_before = Event.objects.filter(type="job.queued").count()
    sweeper.sweep_batches(now=timezone.now())
    after_one = [job.ready for job in jobs_of(batch)]
    work()

    assert (batch.state, batch.total, len(listed)) == ("open", 5, 5)
    assert (held, told_before) == ([(False, None)] * 5, 0)
    assert after_one == [True, True, False, False, False]
    assert [job.ready for job in jobs_of(batch)] == [True] * 5
    told = Event.objects.filter(type="job.queued").order_by("pk")
    assert [event.job_id for event in told] == [job.pk for job in jobs_of(batch)]
    assert audited(batch) == [("batch.submitted", f"key:{api.key.public_id}")]
    batch.refresh_from_db()
    assert (batch.work_at, batch.told_after) == (None, None)


class Stop(BaseException):
    """The end of a process in the middle of what it does."""


def stop_at_slice(monkeypatch, number):
    calls = []
    real = writing.job_rows.insert_rows

    def insert(common, rows):
        calls.append(rows)
        if len(calls) == number:
            raise Stop
        return real(common, rows)

    monkeypatch.setattr(writing.job_rows, "insert_rows", insert)


def test_nobody_sees_a_batch_that_is_half_written_and_a_sweeper_removes_it(
    api, monkeypatch
):
    api.tenant.max_open_jobs = 100
    api.tenant.save()
    stop_at_slice(monkeypatch, 3)
    monkeypatch.setattr(writing, "drop", lambda _batch: None)  # killed outright

    with pytest.raises(Stop):
        send_manifest(api, jsonl(line(n) for n in range(5)), **{"Idempotency-Key": "k"})

    batch = Batch.objects.get()
    (job, *_) = jobs_of(batch)
    seen = api.get(f"/v1/batches/{batch.pk}").json()
    assert (seen["status"], seen["counts"]["total"], Job.objects.count()) == (
        "preparing", 5, 4,
    )  # fmt: skip
    assert api.get("/v1/jobs").json()["data"] == []
    assert_problem(api.get(f"/v1/jobs/{job.pk}"), 404, "not_found")
    assert sweeper.sweep_batches(now=timezone.now()) == 0  # it may still be at it
    for _ in range(3):
        later = timezone.now() + writing.ABANDONED_AFTER
        assert sweeper.sweep_batches(now=later) == 1
    assert (Batch.objects.count(), Job.objects.count()) == (0, 0)
    assert (Event.objects.count(), IdempotencyKey.objects.count()) == (0, 0)
    assert QuotaCounter.objects.get(period="open").reserved == 0
    assert quota_counts.find_drift(api.tenant, now=timezone.now()) == []


def test_a_failure_half_way_drops_what_was_written(api, monkeypatch):
    real = writing.job_rows.insert_rows
    calls = []

    def insert(common, rows):
        calls.append(rows)
        if len(calls) == 2:
            raise RuntimeError
        return real(common, rows)

    monkeypatch.setattr(writing.job_rows, "insert_rows", insert)

    answer = send_manifest(api, jsonl(line(n) for n in range(5)))

    assert_problem(answer, 500, "server_error")
    assert api.get("/v1/batches").json()["data"] == []
    work()
    assert (Batch.objects.count(), Job.objects.count()) == (0, 0)


def test_a_batch_can_be_canceled_while_it_is_being_read(api, monkeypatch):
    real = writing.job_rows.insert_rows
    answers = []

    def insert(common, rows):
        if not answers:
            answers.append(steer(Api.of(api), common.batch, "cancel"))
        return real(common, rows)

    monkeypatch.setattr(writing.job_rows, "insert_rows", insert)

    answer = send_manifest(
        api, jsonl(line(n) for n in range(5)), **{"Idempotency-Key": "k"}
    )

    assert (answers[0].status_code, answers[0].json()["status"]) == (200, "canceling")
    assert_problem(answer, 409, "batch_state_conflict")
    work()
    assert (Batch.objects.count(), Job.objects.count()) == (0, 0)
    assert IdempotencyKey.objects.count() == 0


def test_all_of_a_large_batch_must_fit_its_quota(api):
    api.tenant.max_open_jobs = 4
    api.tenant.save()

    answer = send_manifest(api, jsonl(line(n) for n in range(5)))

    problem = assert_problem(answer, 429, "quota_jobs_exceeded")
    assert "this request needs 5" in problem["detail"]
    assert (Batch.objects.count(), Job.objects.count()) == (0, 0)
    submit_manifest(api, 4)
    assert QuotaCounter.objects.get(period="open").reserved == 4
    assert quota_counts.find_drift(api.tenant, now=timezone.now()) == []


def test_a_large_manifest_under_one_key_is_one_batch(api):
    body = jsonl(line(n) for n in range(5)) + b"x\n" * 3
    key = {"Idempotency-Key": "k"}

    first = send_manifest(api, body, "?on_error=skip", **key)
    again = send_manifest(api, body, "?on_error=skip", **key)

    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (Batch.objects.count(), Job.objects.count()) == (1, 5)
    assert [e.line for e in BatchError.objects.order_by("line")] == [6, 7, 8]


def test_a_repeat_may_be_packed_anew_but_is_the_same(api):
    body = jsonl(line(n) for n in range(5))
    key = {"Idempotency-Key": "k"}

    first, again = (
        send_manifest(api, gzip.compress(body, mtime=at), **key)
        for at in (1, 1_800_000_000)
    )
    other = send_manifest(api, gzip.compress(body + b"\n", mtime=1), **key)
    bare = send_manifest(api, body, **key)

    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    for different in (other, bare):
        assert_problem(different, 422, "idempotency_key_reused")
    assert Batch.objects.count() == 1


def test_of_two_that_write_the_same_at_once_one_is_dropped(api, media, monkeypatch):
    real = writing.write_large
    body = jsonl(line(n) for n in range(5))
    key = {"Idempotency-Key": "k"}
    answers = []

    def prepare(batch, checked):
        real(batch, checked)
        if not answers:
            answers.append(None)
            monkeypatch.setattr(
                "jobs.concurrency.upload_lock._build_path", lambda _n: elsewhere
            )
            answers[0] = send_manifest(Api.of(api), body, **key)

    elsewhere = media / "other.key"
    monkeypatch.setattr(writing, "write_large", prepare)

    mine = send_manifest(api, body, **key)

    assert mine.json() == answers[0].json()
    assert mine.headers["Idempotency-Replayed"] == "true"
    work()
    assert (Batch.objects.count(), Job.objects.count()) == (1, 5)


def test_jobs_do_not_expire_before_they_can_be_seen(api, monkeypatch):
    monkeypatch.setattr(
        writing, "open_prepared", lambda _b: (_ for _ in ()).throw(Stop)
    )
    monkeypatch.setattr(writing, "drop", lambda _batch: None)
    with pytest.raises(Stop):
        send_manifest(api, jsonl(line(n) for n in range(5)), "?expires_in_seconds=1")

    later = timezone.now() + timedelta(seconds=2)

    assert leases.expire(now=later) == 0
    Batch.objects.update(state="open")
    assert leases.expire(now=later) == 5


# --- steered


def test_a_paused_batch_starts_nothing_and_goes_on_where_it_was(api):
    batch = opened(api, 5)
    running, waiting, *_ = jobs_of(batch)
    rows = Job.objects.filter(pk=running.pk)
    services.advance(
        rows, to=JobStatus.PROCESSING, at=timezone.now(), region=make_region(),
        lease_token=1, lease_until=timezone.now() + timedelta(seconds=30),
    )  # fmt: skip

    paused = steer(api, batch, "pause")
    work()
    held = [(job.status, job.ready) for job in jobs_of(batch)]
    services.advance(rows, to=JobStatus.QUEUED, at=timezone.now(), ready=True)
    came_back = Job.objects.get(pk=running.pk)
    Job.objects.filter(pk=waiting.pk).update(run_at=timezone.now())
    leases.make_ready(now=timezone.now())
    still_held = Job.objects.get(pk=waiting.pk)
    resumed = steer(api, batch, "resume")
    work()

    assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    assert held == [("processing", True), *[("queued", False)] * 4]
    assert (came_back.ready, came_back.run_at) == (False, None)
    assert (still_held.ready, still_held.run_at) == (False, None)
    assert resumed.json()["status"] == "processing"
    assert [job.ready for job in jobs_of(batch)] == [True] * 5
    assert [kind for kind, _ in audited(batch)] == [
        "batch.submitted", "batch.paused", "batch.resumed",
    ]  # fmt: skip


def test_pausing_before_all_are_released_forgets_none(api):
    batch = submit_manifest(api, 5)
    sweeper.sweep_batches(now=timezone.now())

    steer(api, batch, "pause")
    work()
    held = [job.ready for job in jobs_of(batch)]
    steer(api, batch, "resume")
    work()

    assert held == [False] * 5
    assert [job.ready for job in jobs_of(batch)] == [True] * 5
    told = Event.objects.filter(type="job.queued").values_list("job_id", flat=True)
    assert sorted(told) == sorted(job.pk for job in jobs_of(batch))


def test_canceling_leaves_what_has_ended_and_lets_calls_go(api):
    batch = opened(api, 5)
    done, running, *_ = jobs_of(batch)
    end([done])
    rows = Job.objects.filter(pk=running.pk)
    services.advance(
        rows, to=JobStatus.PROCESSING, at=timezone.now(), region=make_region(),
        lease_token=1, lease_until=timezone.now() + timedelta(seconds=30),
    )  # fmt: skip
    calls.start_call(job_id=running.pk, lease_token=1, worker="w", now=timezone.now())

    answer = steer(api, batch, "cancel")
    again = steer(api, batch, "cancel")
    work()
    fan_out()
    late = steer(api, batch, "cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "canceling")
    assert again.status_code == 200
    assert (late.status_code, late.json()["status"]) == (200, "completed")
    assert [job.status for job in jobs_of(batch)] == ["completed", *["canceled"] * 4]
    assert Attempt.objects.get(job=running).outcome == "unknown"
    shown = api.get(f"/v1/batches/{batch.pk}").json()
    assert (shown["status"], shown["counts"]["canceled"]) == ("completed", 4)
    told = Event.objects.filter(batch=batch, type="batch.completed").get()
    assert told.data["counts"]["completed"] == 1
    assert [kind for kind, _ in audited(batch)] == ["batch.submitted", "batch.canceled"]


def test_a_killed_keeper_goes_on_where_it_was(api, monkeypatch):
    batch = opened(api, 5)
    steer(api, batch, "cancel")
    sweeper.sweep_batches(now=timezone.now())
    monkeypatch.setattr(
        services, "advance", lambda *_a, **_k: (_ for _ in ()).throw(Stop)
    )
    with pytest.raises(Stop):
        sweeper.sweep_batches(now=timezone.now())
    monkeypatch.undo()

    work()

    assert [job.status for job in jobs_of(batch)] == ["canceled"] * 5
    canceled = Event.objects.filter(type="job.canceled")
    assert canceled.count() == 5


def test_all_that_wait_get_another_priority(api):
    batch = opened(api, 5)
    done, *_ = jobs_of(batch)
    end([done])

    answer = steer(api, batch, "priority", {"priority": "low"})
    work()

    assert answer.status_code == 200
    assert [job.priority for job in jobs_of(batch)] == [6, 9, 9, 9, 9]
    event = Event.objects.get(type="batch.reprioritized")
    assert event.data == {"batch_id": str(batch.pk), "priority": 9}
    batch.refresh_from_db()
    assert batch.wanted_priority is None


def test_a_priority_above_what_the_account_may_use_is_refused(api):
    batch = opened(api)
    api.tenant.highest_priority = 3
    api.tenant.save()

    answer = steer(api, batch, "priority", {"priority": "urgent"})

    assert_problem(answer, 400, "priority_not_allowed")
    assert_problem(steer(api, batch, "priority", {}), 400, "field_required")
    batch.refresh_from_db()
    assert (batch.wanted_priority, batch.work_at) == (None, None)


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "priority"])
def test_a_batch_that_has_ended_cannot_be_steered(api, action):
    batch = opened(api, 2)
    end(jobs_of(batch))
    body = {"priority": "low"} if action == "priority" else None

    assert_problem(steer(api, batch, action, body), 409, "batch_state_conflict")

    assert [kind for kind, _ in audited(batch)] == ["batch.submitted"]


def test_a_batch_that_is_being_canceled_cannot_be_resumed(api):
    batch = opened(api, 5)
    steer(api, batch, "cancel")

    assert_problem(steer(api, batch, "resume"), 409, "batch_state_conflict")


def test_the_wish_of_a_moment_before_is_not_lost(api, monkeypatch):
    batch = opened(api, 5)
    steer(api, batch, "pause")
    real = sweeper._apply

    def resume_meanwhile(found, jobs, now):
        real(found, jobs, now=now)
        if found.is_paused:
            monkeypatch.setattr(sweeper, "_apply", real)
            steer(Api.of(api), batch, "resume")

    monkeypatch.setattr(sweeper, "_apply", resume_meanwhile)
    sweeper.sweep_batches(now=timezone.now())
    work()

    assert [job.ready for job in jobs_of(batch)] == [True] * 5


# --- how far it is


def test_it_says_how_much_is_done_and_ahead_and_what_it_cost(api):
    batch = opened(api, 4)
    first = api.get(f"/v1/batches/{batch.pk}").json()
    one, two, three, _ = jobs_of(batch)
    end([one])
    end([two], JobStatus.FAILED)
    then = timezone.now() - timedelta(seconds=100)
    Batch.objects.update(pace_from=then, pace_at=then)
    end([three])

    shown = api.get(f"/v1/batches/{batch.pk}").json()

    nothing_yet = ("audio_seconds_done", "audio_seconds_ahead", "eta_seconds")
    assert [first[name] for name in nothing_yet] == [0.0, None, None]
    assert first["cost_estimate"] == "0.000000"
    assert (shown["audio_seconds_done"], shown["audio_seconds_ahead"]) == (120.0, 60.0)
    assert Decimal(shown["cost_estimate"]) == Decimal("0.0086")
    assert shown["percent"] == 75
    # Two of them in a hundred seconds, and one is left.
    assert 45 < shown["eta_seconds"] < 60
    Batch.objects.update(pace_at=timezone.now() - timedelta(minutes=6))
    assert api.get(f"/v1/batches/{batch.pk}").json()["eta_seconds"] is None


def test_a_deadline_leaves_what_is_done_and_gives_the_rest_up(api):
    batch = opened(api, 10, "?expires_in_seconds=60")
    end(jobs_of(batch)[:3])

    leases.expire(now=timezone.now() + timedelta(seconds=61))
    fan_out()

    told = Event.objects.get(batch=batch, type="batch.completed")
    assert told.data["counts"] == {
        "total": 10, "open": 0, "completed": 3, "failed": 0, "canceled": 0, "expired": 7,
    }  # fmt: skip
    batch.refresh_from_db()
    assert told.data["expires_at"] == batch.expires_at.isoformat()[:23] + "Z"
    assert told.data["audio_seconds_done"] == 180.0


def test_a_batch_of_only_failures_ends_and_says_so(api):
    batch = opened(api, 5)

    end(jobs_of(batch), JobStatus.FAILED)

    told = Event.objects.get(batch=batch, type="batch.completed")
    assert (told.data["counts"]["failed"], told.data["percent"]) == (5, 100)


# --- again


@pytest.mark.parametrize("number", [2, 5])
def test_only_what_failed_runs_again_in_a_batch_that_names_the_first(api, number):
    batch = opened(api, number + 1, '?metadata={"night":1}', options={"diarize": True})
    end(jobs_of(batch)[:1])
    end(jobs_of(batch)[1:], JobStatus.FAILED)
    key = {"Idempotency-Key": "again"}

    answer = steer(api, batch, "retry", **key)
    repeated = steer(api, batch, "retry", **key)
    work()

    assert answer.status_code == 202, answer.content
    child = Batch.objects.get(pk=answer.json()["id"])
    assert answer.json()["retry_of"] == str(batch.pk)
    assert repeated.json() == answer.json()
    assert (child.total, child.metadata) == (number, {"night": 1})
    again = jobs_of(child)
    originals = jobs_of(batch)[1:]
    assert [job.retry_of_id for job in again] == [job.pk for job in originals]
    names = [(job.custom_id, job.line) for job in originals]
    assert [(job.custom_id, job.line) for job in again] == names
    assert [(job.ready, job.status) for job in again] == [(True, "queued")] * number
    assert again[0].options == originals[0].options
    assert Batch.objects.count() == 2
    assert ("batch.submitted", f"key:{api.key.public_id}") in audited(child)


def test_other_ends_run_again_where_they_are_named(api):
    batch = opened(api, 3)
    end(jobs_of(batch)[:2])
    services.cancel_job(job=jobs_of(batch)[2], now=timezone.now())
    fan_out()

    nothing = steer(api, batch, "retry")
    unknown = steer(api, batch, "retry", {"statuses": ["completed"]})
    answer = steer(api, batch, "retry", {"statuses": ["canceled"]})

    assert_problem(nothing, 409, "batch_state_conflict")
    assert_problem(unknown, 400, "field_invalid")
    assert answer.json()["counts"]["total"] == 1


def test_a_batch_that_still_runs_is_not_run_again(api):
    batch = opened(api, 5)
    end(jobs_of(batch)[:2], JobStatus.FAILED)

    assert_problem(steer(api, batch, "retry"), 409, "batch_state_conflict")
    assert Batch.objects.count() == 1


# --- only checked


def test_a_manifest_can_be_checked_without_making_anything(api):
    body = jsonl([line(1)]) + b"x\n" * 3 + jsonl([line(1)])

    answer = api.post("/v1/batches/check", body, content_type="application/x-ndjson")

    *faults, counts = answer.getvalue().decode().splitlines()
    assert answer.status_code == 200
    assert [json.loads(each)["line"] for each in faults] == [2, 3, 4, 5]
    assert json.loads(counts) == {
        "lines": 5, "total": 1, "skipped": 4, "good": 1, "bad": 4,
    }  # fmt: skip
    assert (Batch.objects.count(), Job.objects.count()) == (0, 0)


def test_a_list_can_be_checked_too(api):
    body = {"items": [line(1), {"audio_url": "x"}]}

    answer = api.post("/v1/batches/check", body)

    fault, counts = map(json.loads, answer.getvalue().splitlines())
    assert (fault["line"], fault["pointer"], fault["code"]) == (
        None, "/items/1/audio_url", "url_invalid",
    )  # fmt: skip
    assert (counts["lines"], counts["total"], counts["skipped"]) == (2, 1, 1)
    assert Batch.objects.count() == 0
