"""A live session as a job: its place, its finals, its calls, its end."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection

from jobs import calls, services
from jobs.errors import (
    JobStateError,
    LimitExceeded,
    ServiceUnavailable,
    StaleJobState,
    UpstreamError,
)
from jobs.models import Attempt, Event, Job, Region
from jobs.quotas import counters as quota_counts
from jobs.retention import erasure
from jobs.services import JobDraft
from tests.support.api import Api, assert_problem
from tests.support.database import is_a_query_blocked
from tests.support.factories import make_region
from tests.support.platform_run import wait_until
from transcripts import storage
from transcripts.live import closing as live_ends
from transcripts.live import sessions as live_sessions
from transcripts.live.closing import EndOfSession
from transcripts.live.sessions import CallFailure, FinalResult
from transcripts.models import LiveFinal, Transcript
from transcripts.storage import read_document
from workers.liveness.heartbeat import Heartbeat

BROKEN = UpstreamError("It broke.", code="upstream_connection_lost")
HEARD = EndOfSession(audio_seconds=6.0, seconds=6.0, request_id="dg-1")


@pytest.fixture(autouse=True)
def media(media: Path) -> Path:
    """Give each test a storage of its own."""
    return media


def store_finals(finals: list[FinalResult]) -> set[tuple[UUID, int]]:
    with connection.cursor() as cursor:
        cursor.execute(*live_sessions.build_store(finals))
        return set(cursor.fetchall())


def now() -> datetime:
    return datetime.now(UTC)


def open_session(engine, **draft):
    return live_sessions.create_session_job(
        tenant=engine.tenant,
        api_key=None,
        draft=JobDraft(**draft),
        worker=engine.name,
        permits=engine.permits,
        now=now(),
    )


def streams_held(engine, region="local") -> int:
    return engine.broker.zcard(f"permits:{{{region}:stream}}:held")


def final(job, seq, *words, start=0.0, **fields) -> FinalResult:
    said = [
        {"word": word, "start": start + n, "end": start + n + 0.5, "confidence": 0.9}
        for n, word in enumerate(words)
    ]
    fields = {"channel": 0, "speech_final": True} | fields
    return FinalResult(
        job_id=job.pk,
        seq=seq,
        start=start,
        end=start + len(words),
        alternative={
            "transcript": " ".join(words),
            "confidence": 0.9,
            "words": said,
        },
        **fields,
    )


def call_again(engine, job, attempt, **broken):
    return live_sessions.next_attempt(
        job=job,
        attempt=attempt,
        broken=CallFailure(error=BROKEN, seconds=2.5, **broken),
        permits=engine.permits,
        worker=engine.name,
        now=now(),
    )


def test_a_session_runs_from_the_commit_that_writes_it(engine):
    job, attempt = open_session(engine, metadata={"a": 1})

    assert (job.status, job.mode, job.worker) == ("processing", "live", "worker-1")
    assert (job.region_id, attempt.region_id, attempt.outcome) == (
        *("local", "local"),
        "open",
    )
    assert streams_held(engine) == 1
    assert engine.permits_held() == 0
    types = Event.objects.filter(job=job).order_by("id").values_list("type", flat=True)
    assert list(types) == ["job.queued", "job.processing"]
    assert engine.tick().claimed == []


def test_sessions_and_calls_take_no_place_from_each_other(engine):
    Region.objects.update(max_streams=1, max_concurrent=1)
    open_session(engine)
    with pytest.raises(LimitExceeded) as refused:
        open_session(engine)

    queued = engine.submit()

    assert (refused.value.code, refused.value.retry_after) == ("no_stream_place", 5)
    assert Job.objects.filter(mode="live").count() == 1
    assert streams_held(engine) == 1
    assert engine.tick().claimed == [queued]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tenant": {"is_paused": True}}, "account_paused"),
        ({"tenant": {"max_in_flight": 0}}, "stream_limit_reached"),
        ({"tenant": {"max_open_jobs": 0}}, "quota_jobs_exceeded"),
        ({"region": {"is_drained": True}}, "service_unavailable"),
    ],
)
def test_a_session_that_may_not_begin_leaves_nothing(engine, change, code):
    type(engine.tenant).objects.update(**change.get("tenant", {"name": "acme"}))
    Region.objects.update(**change.get("region", {"weight": 1}))
    engine.tenant.refresh_from_db()

    with pytest.raises((LimitExceeded, ServiceUnavailable)) as refused:
        open_session(engine)

    assert refused.value.code == code
    assert Job.objects.count() == 0
    assert streams_held(engine) == 0


def test_an_ended_session_is_a_transcript_like_any_other(engine):
    job, attempt = open_session(engine, options={"model": "nova-3"})
    second = final(job, 2, "all", "is", "well", start=3)
    stored = store_finals([second, final(job, 1, "hello", "there"), second])

    ended = live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)

    assert stored == {(job.pk, 1), (job.pk, 2)}
    assert (ended.status, ended.duration_seconds, ended.warnings) == (
        *("completed", 6.0),
        [],
    )
    transcript = Transcript.objects.get(job=job)
    assert transcript.text == "hello there all is well"
    assert (transcript.words, transcript.request_id) == (5, "dg-1")
    said = read_document(transcript)["results"]["utterances"]
    assert [each["transcript"] for each in said] == ["hello there", "all is well"]
    attempt.refresh_from_db()
    assert (attempt.outcome, attempt.audio_seconds) == ("ok", 6.0)
    assert str(attempt.cost_estimate) == "0.000770"
    assert LiveFinal.objects.count() == 0
    told = Event.objects.get(job=job, type="job.completed")
    assert told.has_deliveries


def test_what_comes_after_the_end_is_not_stored(engine):
    job, attempt = open_session(engine)
    other, _ = open_session(engine)
    live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)

    stored = store_finals([final(job, 1, "late"), final(other, 1, "in", "time")])

    assert stored == {(other.pk, 1)}
    assert LiveFinal.objects.get().job_id == other.pk


@pytest.mark.parametrize(
    ("words", "error", "status", "code", "warnings"),
    [
        ([], None, "completed", "", ["no_speech"]),
        ([], BROKEN, "failed", "upstream_connection_lost", []),
        (["hello"], BROKEN, "completed", "", ["session_interrupted"]),
    ],
)
def test_how_a_session_ends_is_told(engine, words, error, status, code, warnings):
    job, attempt = open_session(engine)
    store_finals([final(job, 1, *words)])

    ended = live_sessions.finish_session(
        job=job,
        attempt=attempt,
        ending=EndOfSession(audio_seconds=1.0, seconds=1.0, error=error),
    )

    assert (ended.status, ended.error_code) == (status, code)
    assert [each["code"] for each in ended.warnings] == warnings
    attempt.refresh_from_db()
    assert attempt.outcome == ("error" if error else "ok")
    assert LiveFinal.objects.count() == 0


def test_a_call_that_broke_is_followed_by_another_in_its_place(engine):
    Region.objects.update(max_streams=1)
    job, attempt = open_session(engine)
    heartbeat = Heartbeat(queues=[], slots=0, permits=engine.permits)
    heartbeat.add([job])

    again, second = call_again(engine, job, attempt)
    assert streams_held(engine) == 2  # its own, until the old one is let go
    heartbeat.add([again])
    heartbeat.remove([job])

    assert (again.lease_token, again.attempt, again.region_id) == (2, 2, "local")
    assert engine.broker.zrange("permits:{local:stream}:held", 0, -1) == [
        f"{job.pk}.2".encode()
    ]
    live_sessions.finish_session(job=again, attempt=second, ending=HEARD)
    calls = Attempt.objects.order_by("lease_token")
    assert [(each.outcome, each.error_code, each.audio_seconds) for each in calls] == [
        ("error", "upstream_connection_lost", 2.5),
        ("ok", "", 6.0),
    ]


def test_a_call_that_ends_while_the_heart_beats_keeps_no_place(engine, monkeypatch):
    job, _ = open_session(engine)
    heartbeat = Heartbeat(queues=[], slots=0, permits=engine.permits)
    heartbeat.add([job])
    renew = heartbeat._renew_rows

    def end_meanwhile(held):
        renew(held)
        heartbeat.remove([job])
        assert streams_held(engine) == 0

    monkeypatch.setattr(heartbeat, "_renew_rows", end_meanwhile)
    heartbeat.beat()

    assert streams_held(engine) == 0


def test_a_session_moves_to_another_region_it_may_run_in(engine):
    make_region("eu", max_streams=1)
    make_region("us", max_streams=1)
    job, attempt = open_session(engine, allowed_regions=["local", "eu"])
    first, other = job.region_id, {"local": "eu", "eu": "local"}[job.region_id]

    again, second = call_again(engine, job, attempt, elsewhere=True)

    assert again.region_id == second.region_id == other
    assert streams_held(engine, other) == 1
    Region.objects.filter(pk=first).update(is_enabled=False)
    Region.objects.filter(pk=other).update(is_drained=True)
    assert call_again(engine, again, second) is None
    assert Attempt.objects.get(pk=second.pk).outcome == "error"
    assert Job.objects.get(pk=job.pk).status == "processing"


def test_a_session_that_was_canceled_calls_nobody_again(engine):
    job, attempt = open_session(engine)
    store_finals([final(job, 1, "never", "mind")])
    services.cancel_job(job=job, now=now())

    with pytest.raises(StaleJobState):
        call_again(engine, job, attempt)
    ended = live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)

    assert ended.status == "canceled"
    assert engine.broker.zscore("permits:{local:stream}:held", f"{job.pk}.2") is None
    assert Transcript.objects.count() == LiveFinal.objects.count() == 0
    assert Attempt.objects.get().audio_seconds == 2.5


def test_the_process_of_a_session_hears_once_that_it_was_canceled(engine):
    lost: list[Job] = []
    heartbeat = Heartbeat(
        queues=[], slots=0, permits=engine.permits, on_lost=lost.append
    )
    engine.name = heartbeat.name
    job, _ = open_session(engine)
    other, _ = open_session(engine)
    for each in (job, other):
        heartbeat.add([each])
    heartbeat.beat()
    assert lost == []

    services.cancel_job(job=job, now=now())
    heartbeat.beat()
    heartbeat.beat()

    assert lost == [job]


def test_a_session_whose_process_died_ends_with_what_was_said(engine):
    job, attempt = open_session(engine)
    silent, _ = open_session(engine)
    held, _ = open_session(engine)
    store_finals([final(job, 1, "so", "far"), final(held, 1, "still")])
    for each in (job, silent):
        engine.lose_lease(each)

    ticked = engine.tick()

    assert (ticked.requeued, ticked.has_lost_live) == (0, True)
    assert live_sessions.close_abandoned() == 2
    assert live_sessions.close_abandoned() == 0
    for each in (job, silent, held):
        each.refresh_from_db()
    assert (job.status, silent.status, held.status) == (
        *("completed", "failed"),
        "processing",
    )
    assert [each["code"] for each in job.warnings] == ["session_interrupted"]
    assert silent.error_code == "session_lost"
    assert Transcript.objects.get().text == "so far"
    attempt.refresh_from_db()
    assert (attempt.outcome, attempt.error_code, attempt.audio_seconds) == (
        *("unknown", "worker_lost"),
        None,
    )
    assert LiveFinal.objects.get().job_id == held.pk
    assert engine.tick().has_lost_live is False


def test_a_process_that_was_taken_for_lost_closes_its_call_and_no_more(engine):
    engine.tenant.max_open_jobs = 5
    engine.tenant.audio_seconds_per_day = 10_000
    engine.tenant.save()
    job, attempt = open_session(engine)
    store_finals([final(job, 1, "so", "far")])
    engine.lose_lease(job)
    live_sessions.close_abandoned()

    ended = live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)

    assert [each["code"] for each in ended.warnings] == ["session_interrupted"]
    assert Transcript.objects.get().text == "so far"
    attempt.refresh_from_db()
    assert (attempt.outcome, attempt.audio_seconds) == ("ok", 6.0)
    assert quota_counts.find_drift(engine.tenant, now=now()) == []


def test_a_session_whose_process_comes_back_meanwhile_goes_on(engine, monkeypatch):
    job, attempt = open_session(engine)
    store_finals([final(job, 1, "so", "far")])
    engine.lose_lease(job)
    store = storage.store_result

    def store_slowly(*args, **kwargs):
        calls.renew_leases([job.pk], worker=engine.name)
        return store(*args, **kwargs)

    monkeypatch.setattr(storage, "store_result", store_slowly)

    assert live_sessions.close_abandoned() == 0

    job.refresh_from_db()
    attempt.refresh_from_db()
    assert (job.status, attempt.outcome) == ("processing", "open")
    assert LiveFinal.objects.count() == 1
    assert Transcript.objects.count() == 0


def test_what_is_said_while_the_document_is_stored_is_in_it(engine, monkeypatch):
    job, attempt = open_session(engine)
    store_finals([final(job, 1, "one")])
    store = storage.store_result
    stored: list[str] = []

    def store_slowly(*args, **kwargs):
        stored.append(store(*args, **kwargs))
        store_finals([final(job, 2, "two", start=1)])
        return stored[-1]

    monkeypatch.setattr(storage, "store_result", store_slowly)

    live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)

    transcript = Transcript.objects.get()
    assert transcript.text == "one two"
    assert [transcript.raw] == stored[1:]


@pytest.fixture
def committed(transactional_db):
    """Before `engine`: several connections have to see its rows."""


def run_at_once(*functions) -> None:
    def run(function):
        try:
            function()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[each]) for each in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def test_of_all_who_end_a_session_at_once_one_does(committed, engine):
    sessions = [open_session(engine) for _ in range(5)]
    store_finals([final(job, 1, "so", "far") for job, _ in sessions])
    for job, _ in sessions:
        engine.lose_lease(job)

    def finish():
        for job, attempt in sessions:
            live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)

    run_at_once(finish, live_sessions.close_abandoned, live_sessions.close_abandoned)

    assert Transcript.objects.count() == 5
    assert Event.objects.filter(type="job.completed").count() == 5
    assert LiveFinal.objects.count() == 0
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"ok"}


def test_a_final_waits_for_the_end_that_is_being_committed(
    committed, engine, monkeypatch
):
    job, attempt = open_session(engine)
    complete = live_ends.complete
    stored: list[set[object]] = []
    late = threading.Thread(
        target=lambda: (
            stored.append(store_finals([final(job, 1, "late")])),
            connection.close(),
        )
    )

    def complete_slowly(*args, **kwargs):
        late.start()
        assert wait_until(is_a_query_blocked, seconds=10)
        return complete(*args, **kwargs)

    monkeypatch.setattr(live_ends, "complete", complete_slowly)

    live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)
    late.join(10)

    assert stored == [set()]
    assert LiveFinal.objects.count() == 0


def test_the_api_shows_a_session_as_it_shows_any_job(engine):
    api = Api(engine.tenant)
    job, attempt = open_session(engine, metadata={"call": 7})
    path = f"/v1/jobs/{job.pk}"
    shown = api.get(path).json()
    assert (shown["mode"], shown["status"], shown["audio"]) == (
        *("live", "processing"),
        {"stream": True},
    )
    assert_problem(api.get(f"/v1/transcripts/{job.pk}"), 409, "result_not_ready")
    store_finals([final(job, 1, "good", "day")])

    live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)

    listed = api.get("/v1/jobs").json()["data"]
    assert [(each["id"], each["status"]) for each in listed] == [
        (str(job.pk), "completed")
    ]
    assert listed[0]["duration_seconds"] == 6.0
    transcript = api.get(f"/v1/transcripts/{job.pk}").json()
    assert (transcript["text"], transcript["duration_seconds"]) == ("good day", 6.0)
    assert [each["transcript"] for each in transcript["utterances"]] == ["good day"]
    raw = api.get(f"/v1/transcripts/{job.pk}?format=raw").json()
    assert raw["metadata"]["request_id"] == "dg-1"
    (call,) = api.get(f"{path}/attempts").json()["data"]
    assert (call["outcome"], call["audio_seconds"]) == ("ok", 6.0)
    (used,) = api.get("/v1/usage").json()["data"]
    assert (used["jobs"], used["audio_seconds"]) == (1, 6.0)
    assert_problem(api.get(f"{path}/audio"), 404, "audio_not_stored")
    assert_problem(api.post(f"{path}/retry", b""), 409, "live_not_retryable")
    assert_problem(api.post(f"{path}/cancel", b""), 409, "job_state_conflict")


def test_places_are_counted_from_the_rows_after_a_flush(engine):
    Region.objects.update(max_streams=2, max_concurrent=1)
    engine.tenant.max_in_flight = 2
    engine.tenant.save()
    open_session(engine)
    engine.broker.flushdb()

    open_session(engine)
    with pytest.raises(LimitExceeded):
        open_session(engine)

    assert streams_held(engine) == 2
    engine.submit()
    assert len(engine.tick().claimed) == 1


def test_a_session_is_not_tried_again_and_erased_like_any_job(engine):
    job, attempt = open_session(engine)
    store_finals([final(job, 1, "hello")])
    live_sessions.finish_session(job=job, attempt=attempt, ending=HEARD)
    job.refresh_from_db()

    with pytest.raises(JobStateError) as refused:
        services.retry_job(job=job, api_key=None, now=now())
    receipt = erasure.erase_job(job=job, actor="", now=now())

    assert refused.value.code == "live_not_retryable"
    assert receipt.erased["transcripts"] == 1
    assert Job.objects.count() == 1
    assert Transcript.objects.count() == 0
