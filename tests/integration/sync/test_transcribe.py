import threading
import time
from datetime import timedelta

import pytest
import redis
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.models import F
from django.utils import timezone

from jobs import services
from jobs.concurrency import thread_limits
from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.errors import StaleJobState, UpstreamError
from jobs.models import Attempt, Event, IdempotencyKey, Job, Tenant
from jobs.scheduling import direct_claims, leases, long_poll
from jobs.scheduling.claims import Permit
from tests.support.api import Api, assert_problem, files_in
from tests.support.factories import make_job, make_tenant, make_wav
from tests.support.fake_backend import FakeBackend
from tests.support.waiting import eventually
from transcripts.models import Transcript
from workers.api.transcribe import runner
from workers.embedded.processes import wait_until


def test_a_transcript_is_answered_at_once(door):
    answer = door.transcribe(mode="sync", metadata={"order": 7})

    assert answer.status_code == 200, answer.content
    body, job = answer.json(), Job.objects.get()
    assert answer.headers["Location"] == f"/v1/jobs/{job.pk}"
    assert (body["request_id"], body["metadata"]) == ("r-1", {"order": 7})
    assert body["transcript"]["text"] == "hello world"
    assert body["transcript"]["channels"][0]["words"][1]["word"] == "world"
    assert (body["job"]["status"], body["job"]["mode"]) == ("completed", "sync")
    assert body["route"] == {
        "mode": "sync",
        "reason": "asked",
        "duration_seconds": None,
        "source": "none",
        "thresholds": {"sync_below_seconds": 60, "async_above_seconds": 300},
        "region": "local",
    }
    kinds = list(Event.objects.order_by("pk").values_list("type", flat=True))
    assert kinds == ["job.queued", "job.processing", "job.completed"]
    assert Attempt.objects.get().outcome == "ok"
    assert door.places_held() == 0


def test_past_the_wait_the_same_job_goes_on_by_itself(door):
    go_on = threading.Event()
    door.backend.during = lambda: go_on.wait(30)
    began = time.monotonic()

    answer = door.transcribe(mode="sync", wait=1)

    assert answer.status_code == 202
    assert 0.9 < time.monotonic() - began < 5
    job = Job.objects.get()
    assert answer.json()["id"] == str(job.pk)
    assert answer.headers["Location"] == f"/v1/jobs/{job.pk}"
    assert (job.status, door.places_held()) == ("processing", 1)
    go_on.set()
    door.settle()
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("completed", 1)
    assert Transcript.objects.get().text == "hello world"


def test_no_place_in_time_and_the_queue_has_it(door):
    others = [Permit(member=f"other.{n}") for n in range(3)]
    assert door.permits.acquire(door.region, others) == [True] * 3

    answer = door.transcribe(mode="sync", wait=1)

    assert answer.status_code == 202
    # The runner's thread may release the job after the response.
    released = Job.objects.filter(ready=True, run_at=None)
    eventually(released.exists, seconds=10)
    job = Job.objects.get()
    assert (job.status, job.lease_token) == ("queued", 0)
    assert door.backend.requests == []


def test_a_place_that_comes_free_is_taken_while_somebody_waits(door):
    other = Permit(member="other.1")
    door.region.max_concurrent = 1
    door.region.save()
    door.permits.acquire(door.region, [other])
    threading.Timer(0.4, door.permits.release, ("local", [other])).start()

    answer = door.transcribe(mode="sync", wait=20)

    assert answer.status_code == 200, answer.content


def test_nothing_is_loaded_while_a_claim_is_held_by_nobody(door, monkeypatch):
    found: list[str] = []

    def load() -> FakeBackend:
        found.append(Job.objects.get().status)
        return door.backend

    monkeypatch.setattr(runner, "get_backend", load)

    assert door.transcribe(mode="sync").status_code == 200
    assert found == ["queued"]


def test_a_job_is_held_back_for_as_long_as_somebody_waits(door):
    others = [Permit(member=f"other.{n}") for n in range(door.region.max_concurrent)]
    door.permits.acquire(door.region, others)
    first = timedelta(seconds=runner.HELD_FOR_SECONDS)
    renewed = Job.objects.filter(run_at__gt=F("created_at") + first)
    withheld: list[timedelta] = []

    def look_and_make_room() -> None:
        wait_until(renewed.exists, seconds=15)
        job = Job.objects.get()
        withheld.append(job.run_at - job.created_at)
        connection.close()
        door.permits.release("local", others)

    threading.Thread(target=look_and_make_room).start()

    assert door.transcribe(mode="sync", wait=20).status_code == 200
    assert first < withheld[0] < first + timedelta(seconds=5)


def test_the_queue_leaves_the_next_place_to_whoever_waits(door):
    door.region.max_concurrent = 5
    waiting = Permit(member="waiting.1")
    queued = [Permit(member=f"queued.{n}") for n in range(5)]
    door.permits.register_waiter(door.region, waiting)

    assert door.permits.find_room(door.region)[""] == 4
    assert door.permits.acquire(door.region, queued) == [True] * 4 + [False]
    assert door.permits.acquire(door.region, [waiting], direct=True) == [True]
    assert door.permits.find_room(door.region)[""] == 0


def test_an_upstream_in_trouble_is_tried_again_by_the_queue(door):
    door.backend.script = [UpstreamError("away", code="upstream_unavailable")]

    answer = door.transcribe(mode="sync")

    assert answer.status_code == 202
    job = Job.objects.get()
    assert (job.status, job.attempt, job.ready) == ("queued", 1, False)
    assert job.run_at is not None
    assert Attempt.objects.get().error_code == "upstream_unavailable"


@pytest.mark.parametrize(
    ("code", "failure", "status"),
    [
        ("audio_unreadable", "bad_media", 422),
        ("upstream_refused_options", "bad_options", 422),
        ("upstream_length_required", "platform", 502),
    ],
)
def test_a_final_failure_is_said_at_once(door, code, failure, status):
    door.backend.script = [UpstreamError("It cannot be.", code=code, failure=failure)]

    problem = assert_problem(door.transcribe(mode="sync"), status, code)

    job = Job.objects.get()
    assert (job.status, job.error_code) == ("failed", code)
    assert problem["detail"] == f"It cannot be. The job is {job.pk}."


def _pause(door):
    Tenant.objects.update(is_paused=True)


def _drain(door):
    door.region.is_drained = True
    door.region.save()


def _fill_the_gate(door):
    while door.runner.gate.acquire(door.api.tenant.pk):
        pass


def _have_all(door):
    Tenant.objects.update(max_in_flight=1)
    make_job(door.api.tenant, status="processing")


@pytest.mark.parametrize("hinder", [_pause, _drain, _fill_the_gate, _have_all])
def test_where_waiting_is_of_no_use_the_queue_has_it_at_once(door, hinder):
    hinder(door)
    began = time.monotonic()

    answer = door.transcribe(mode="sync", wait=30)

    assert answer.status_code == 202
    assert time.monotonic() - began < 5
    job = Job.objects.get(pk=answer.json()["id"])
    assert (job.status, job.ready, job.run_at) == ("queued", True, None)


def test_without_redis_the_queue_has_it_at_once(door, settings, monkeypatch):
    def away(*_args, **_more):
        raise redis.ConnectionError("away")

    monkeypatch.setattr(door.permits, "_script", away)
    began = time.monotonic()

    answer = door.transcribe(mode="sync", wait=30)

    assert (answer.status_code, Job.objects.get().ready) == (202, True)
    assert time.monotonic() - began < 10


def test_a_job_whose_process_died_at_the_door_is_the_queues_after_the_wait(door):
    now = timezone.now()
    draft = services.JobDraft(
        audio_url="https://a.example.com/x", ready=False, run_at=now
    )
    job = services.submit_job(
        tenant=door.api.tenant, api_key=None, draft=draft, now=now
    )

    assert leases.make_ready(now=now) == 1
    job.refresh_from_db()
    assert job.ready


def test_the_queue_and_the_door_cannot_both_have_a_job(door):
    job = make_job(door.api.tenant)
    claim = {"permits": door.permits, "worker": "web", "now": timezone.now()}
    assert direct_claims.claim_directly(job, **claim) is not None

    with pytest.raises(StaleJobState):
        direct_claims.claim_directly(job, **claim)

    assert (Attempt.objects.count(), door.places_held()) == (1, 1)


def test_a_tenant_leaves_room_at_the_gate_for_others(door):
    theirs = make_tenant()
    entered = [door.runner.gate.acquire(door.api.tenant.pk) for _ in range(4)]

    assert entered == [True, True, True, False]
    assert door.runner.gate.acquire(theirs.pk)
    door.runner.gate.release(theirs.pk)


def test_the_doors_share_the_threads_that_they_lend(door, monkeypatch):
    waiters, go_on = FairSemaphore(3), threading.Event()
    monkeypatch.setattr(thread_limits, "waiting_requests", lambda: waiters)
    door.backend.during = lambda: go_on.wait(30)
    by_prefer = [waiters.acquire(tenant) for tenant in ("one", "two")]

    def ask() -> None:
        door.transcribe(mode="sync")
        connection.close()

    first = threading.Thread(target=ask)
    first.start()
    while not door.backend.requests:
        time.sleep(0.01)
    one_too_many = door.transcribe(mode="sync")
    waits_no_more = long_poll.wait_for_end(
        Job.objects.latest("pk").pk, tenant_id=make_tenant().pk, seconds=30
    )
    go_on.set()
    first.join()

    assert by_prefer == [True, True]
    assert one_too_many.status_code == 202
    assert not waits_no_more
    assert Job.objects.latest("pk").ready  # the queue has it
    assert waiters.acquire("three")  # the first one's place, given back


def test_the_same_key_is_answered_with_the_same_transcript(door):
    key = {"Idempotency-Key": "k-1"}
    first = door.transcribe(headers=key, mode="sync")
    again = door.transcribe(headers=key, mode="sync")
    other = door.transcribe(headers=key, mode="sync", metadata={"a": 1})

    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert_problem(other, 422, "idempotency_key_reused")
    assert (len(door.backend.requests), Job.objects.count()) == (1, 1)


def test_a_key_used_at_one_door_is_free_at_another(door):
    key, body = {"Idempotency-Key": "k-1"}, {"audio_url": "https://a.example.com/a.wav"}

    queued = door.api.post("/v1/jobs", body, key)
    at_once = door.transcribe(headers=key, **body)

    assert (queued.status_code, at_once.status_code) == (202, 200)
    assert "Idempotency-Replayed" not in at_once.headers
    assert Job.objects.count() == 2


def test_the_same_key_in_the_middle_of_a_call_is_told_to_come_again(door):
    key, go_on = {"Idempotency-Key": "k-1"}, threading.Event()
    door.backend.during = lambda: go_on.wait(30)

    def ask() -> None:
        door.transcribe(headers=key, mode="sync")
        connection.close()

    first = threading.Thread(target=ask)
    first.start()
    while not door.backend.requests:
        time.sleep(0.01)

    again = door.transcribe(headers=key, mode="sync")

    assert_problem(again, 409, "request_in_flight")
    assert again.headers["Retry-After"] == "1"
    go_on.set()
    first.join(30)
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "mode", "reason"),
    [
        ({"duration_seconds": 59}, "sync", "short"),
        ({"duration_seconds": 120}, "sync", "medium"),
        ({}, "sync", "unknown_length"),
        ({"duration_seconds": 301}, "async", "long"),
        ({"duration_seconds": 5, "mode": "async"}, "async", "asked"),
    ],
)
def test_without_a_mode_the_length_decides(door, body, mode, reason):
    answer = door.transcribe(**body)

    job = Job.objects.get()
    assert answer.status_code == (200 if mode == "sync" else 202)
    assert (job.mode, job.route["mode"], job.route["reason"]) == (mode, mode, reason)
    shown = answer.json()["route"]
    assert (shown["mode"], shown["reason"]) == (mode, reason)
    assert shown["source"] == ("request" if "duration_seconds" in body else "none")


def upload(door, seconds, query="", **fields):
    path = f"/v1/transcribe{query}"
    return door.api.upload(make_wav(seconds), path=path, **fields)


def test_an_uploads_own_length_decides_whatever_is_told(door, settings):
    settings.SYNC_BELOW_SECONDS, settings.ASYNC_ABOVE_SECONDS = 0.5, 1

    answer = upload(door, 2, duration_seconds="0.5")

    assert answer.status_code == 202, answer.content
    route = answer.json()["route"]
    assert (route["mode"], route["source"], route["duration_seconds"]) == (
        "async",
        "upload_probe",
        2.0,
    )


def test_a_short_upload_is_transcribed_at_once(door, media):
    answer = upload(door, 2, wait="10")

    assert answer.status_code == 200, answer.content
    assert answer.json()["job"]["audio"] == {
        "filename": "a.wav",
        "size_bytes": 32044,
    }
    assert len(files_in(media)) == 2  # the audio and the raw document


def test_explaining_runs_and_keeps_nothing(door, media):
    answer = upload(door, 2, query="?explain=true")

    assert answer.status_code == 200
    assert answer.json() == {
        "route": {
            "mode": "sync",
            "reason": "short",
            "duration_seconds": 2.0,
            "source": "upload_probe",
            "thresholds": {"sync_below_seconds": 60, "async_above_seconds": 300},
            "region": None,
        }
    }
    assert (Job.objects.count(), files_in(media), door.backend.requests) == (0, [], [])


BAD = [
    ({"mode": "later"}, "/mode", "field_invalid"),
    ({"mode": ""}, "/mode", "field_invalid"),
    ({"wait": 0}, "/wait", "field_invalid"),
    ({"wait": 61}, "/wait", "field_invalid"),
    ({"wait": "abc"}, "/wait", "field_invalid"),
    ({"wait": 1.5}, "/wait", "field_invalid"),
    ({"duration_seconds": -1}, "/duration_seconds", "field_invalid"),
    ({"duration_seconds": "60"}, "/duration_seconds", "field_invalid"),
    ({"duration_seconds": True}, "/duration_seconds", "field_invalid"),
    ({"audio_url": "http://10.0.0.1/"}, "/audio_url", "url_not_allowed"),
    ({"mode": "stream"}, "/audio_url", "field_conflict"),
    ({"probe_url": "yes"}, "/probe_url", "field_invalid"),
    ({"probe_url": 1}, "/probe_url", "field_invalid"),
    ({"nonsense": 1}, "/nonsense", "field_unknown"),
    ({"options": {"modell": "x"}}, "/options/modell", "option_unknown"),
]


@pytest.mark.parametrize(("body", "pointer", "code"), BAD)
def test_what_it_cannot_take_is_refused_by_name(door, body, pointer, code):
    problem = assert_problem(door.transcribe(**body), 400, code)

    assert [entry["pointer"] for entry in problem["errors"]] == [pointer]
    assert (Job.objects.count(), IdempotencyKey.objects.count()) == (0, 0)
    assert door.places_held() == 0


def test_neither_url_nor_file_and_both_are_refused(door):
    neither = door.api.post("/v1/transcribe", {"mode": "sync"})
    both = upload(door, 1, audio_url="https://a.example.com/x.wav")
    streamed = upload(door, 1, mode="stream")

    assert_problem(neither, 400, "field_required")
    assert_problem(both, 400, "field_required")
    assert_problem(streamed, 400, "field_conflict")
    assert Job.objects.count() == 0


def test_what_is_no_audio_is_refused_before_anything_is_spent(door, media):
    file = SimpleUploadedFile("a.wav", b"nonsense" * 100, content_type="audio/wav")

    answer = door.api.client.post(
        "/v1/transcribe", {"file": file}, headers=door.api.headers()
    )

    assert_problem(answer, 422, "audio_unreadable")
    assert (Job.objects.count(), files_in(media), door.backend.requests) == (0, [], [])


def test_explain_is_true_or_false(door):
    answer = door.api.post("/v1/transcribe?explain=yes", {"mode": "sync"})

    assert_problem(answer, 400, "parameter_invalid")


def test_a_foreign_key_or_none_is_refused(door):
    stranger = Api(make_tenant())
    stranger.text = stranger.text[:-1] + ("0" if stranger.text[-1] != "0" else "1")

    assert_problem(stranger.post("/v1/transcribe", {}), 401, "key_malformed")
