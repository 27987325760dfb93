import asyncio
import gc
import io
import json
import zipfile
from datetime import UTC, datetime

import pytest
from django.core.files.storage import default_storage
from django.db.models import F
from django.test import AsyncClient
from django.utils import timezone

from jobs.batches import records
from jobs.concurrency import thread_limits
from jobs.models import Batch, BatchError, BatchState, Job
from jobs.services import JobDraft
from jobs.state import JobStatus
from tests.support import batches
from tests.support.api import assert_problem
from tests.support.captions import document_of, say
from tests.support.factories import make_attempt, make_region, make_transcript, move_job
from transcripts.results import archive, lines, rows
from transcripts.results.lines import ErrorLine, ResultLine

RAW = json.dumps(document_of(say("Hello there.", speaker=0))).encode()
URL = "https://audio.example.com/a/b.wav"
AT = datetime(2026, 11, 25, 5, 0, 0, tzinfo=UTC)


def make_batch(tenant, *ids, urls=()):
    """Submit a batch of jobs by URL; ids and URLs default to none and to one for all."""
    drafts = [
        JobDraft(audio_url=url, custom_id=custom_id, metadata={"of": custom_id})
        for custom_id, url in zip(ids, urls or [URL] * len(ids), strict=True)
    ]
    draft = records.BatchDraft(jobs=drafts, metadata={})
    return batches.submit_batch(
        tenant=tenant, api_key=None, draft=draft, now=timezone.now()
    )


def jobs_of(batch):
    return list(Job.objects.filter(batch=batch).order_by("pk"))


def end(job, status=JobStatus.COMPLETED, **changes):
    """Bring a job to its end, a paid call and a transcript with it."""
    started = {
        "region": make_region(),
        "lease_token": 1,
        "lease_until": AT,
        "attempt": 1,
    }
    job = move_job(move_job(job, JobStatus.PROCESSING, **started), status, **changes)
    if status == JobStatus.COMPLETED:
        make_attempt(job, cost_estimate="0.004300")
        make_transcript(job, RAW)
    return job


def read_lines(answer):
    assert answer.status_code == 200
    return [json.loads(each) for each in answer.getvalue().splitlines()]


def read_zip(answer):
    assert answer.status_code == 200
    found = zipfile.ZipFile(io.BytesIO(answer.getvalue()))
    assert found.testzip() is None
    return found


@pytest.fixture
def batch(api):
    """A batch in all states that a job can be in."""
    made = make_batch(api.tenant, "one", "Zwei/2", "", "four", "five", "six")
    one, two, three, four, five, _six = jobs_of(made)
    Job.objects.filter(pk__in=[one.pk, four.pk]).update(line=F("priority"))
    end(one)
    end(two)
    end(three)
    end(four, JobStatus.FAILED, error_code="upstream_error", error_detail="It broke.")
    move_job(five, JobStatus.CANCELED)
    assert api.delete(f"/v1/jobs/{three.pk}").status_code == 200
    BatchError.objects.bulk_create(
        BatchError(
            batch=made,
            line=line,
            code="field_invalid",
            detail=f"At {line}.",
            pointer=pointer,
        )
        for line, pointer in ((9, "/b"), (7, ""), (7, "/a"))
    )
    return made


def test_the_manifest_has_a_line_a_transcript(api, batch, settings):
    one, two, three = jobs_of(batch)[:3]

    answer = api.get(f"/v1/batches/{batch.pk}/results")

    first, second, third = read_lines(answer)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert (
        f'filename="{batch.pk}-results.jsonl"' in answer.headers["Content-Disposition"]
    )
    assert set(first) == set(ResultLine().fields)
    assert first["job_id"] == str(one.pk)
    assert first["transcript_url"] == f"{settings.BASE_URL}/v1/transcripts/{one.pk}"
    names = ("custom_id", "duration_seconds", "language", "confidence", "words")
    assert [first[name] for name in names] == ["one", None, "en", 0.9, 2]
    assert (first["line"], first["audio_url"]) == (6, URL)
    assert (first["cost_estimate"], first["attempts"]) == ("0.004300", 1)
    assert first["metadata"] == {"of": "one"}
    assert (second["job_id"], second["custom_id"]) == (str(two.pk), "Zwei/2")
    assert (third["job_id"], third["custom_id"]) == (str(three.pk), None)
    assert third["erased_at"]
    assert third["transcript_url"] is third["words"] is None
    assert (third["metadata"], third["cost_estimate"]) == ({}, "0.004300")
    assert third["audio_url"] is None


def test_the_other_manifest_has_what_became_no_transcript(api, batch):
    answer = api.get(f"/v1/batches/{batch.pk}/errors", {"Accept": "application/jsonl"})

    found = read_lines(answer)
    assert answer.headers["Content-Type"] == "application/jsonl"
    assert set(found[0]) == set(found[-1]) == set(ErrorLine().fields)
    assert [(it["line"], it["pointer"], it["status"], it["code"]) for it in found] == [
        (7, None, "rejected", "field_invalid"),
        (7, "/a", "rejected", "field_invalid"),
        (9, "/b", "rejected", "field_invalid"),
        (6, None, "failed", "upstream_error"),
        (None, None, "canceled", "job_canceled"),
    ]
    assert [it["custom_id"] for it in found[3:]] == ["four", "five"]
    assert (found[3]["detail"], found[3]["audio_url"]) == ("It broke.", URL)
    assert found[4]["detail"] == "The job was canceled."


def test_the_archive_has_a_file_a_transcript_and_says_what_it_left_out(api, batch):
    one, two, three = jobs_of(batch)[:3]

    answer = api.get(f"/v1/batches/{batch.pk}/transcripts.zip?format=srt")

    found = read_zip(answer)
    assert answer.headers["Content-Type"] == "application/zip"
    assert f'filename="{batch.pk}-srt.zip"' in answer.headers["Content-Disposition"]
    assert found.namelist() == ["one.srt", "Zwei_2.srt", "manifest.jsonl"]
    alone = api.get(f"/v1/transcripts/{one.pk}?format=srt").content
    assert found.read("one.srt") == alone
    assert b"Hello there." in alone
    assert all(each.date_time >= (2026,) for each in found.infolist())
    assert [json.loads(it) for it in found.read("manifest.jsonl").splitlines()] == [
        {
            "file": "one.srt",
            "job_id": str(one.pk),
            "custom_id": "one",
            "left_out": None,
        },
        {
            "file": "Zwei_2.srt",
            "job_id": str(two.pk),
            "custom_id": "Zwei/2",
            "left_out": None,
        },
        {
            "file": None,
            "job_id": str(three.pk),
            "custom_id": None,
            "left_out": "erased",
        },
    ]


def test_each_format_can_be_had_and_json_is_the_default(api, batch):
    endings = {"json": "json", "text": "txt", "raw": "deepgram.json", "vtt": "vtt"}
    one = jobs_of(batch)[0]

    for name, ending in endings.items():
        found = read_zip(
            api.get(f"/v1/batches/{batch.pk}/transcripts.zip?format={name}")
        )
        alone = api.get(f"/v1/transcripts/{one.pk}?format={name}").content
        assert found.read(f"one.{ending}") == alone
    default = read_zip(api.get(f"/v1/batches/{batch.pk}/transcripts.zip"))
    assert default.namelist()[0] == "one.json"


def test_files_of_one_name_are_told_apart_by_their_jobs(api):
    urls = [
        f"https://audio.example.com/{name}"
        for name in ("a/call.wav?sig=s3cret", "b/CALL.mp3", "", "%2e%2e%2fetc")
    ]
    batch = make_batch(api.tenant, "", "", "", "", urls=urls)
    jobs = [end(job) for job in jobs_of(batch)]

    found = read_zip(api.get(f"/v1/batches/{batch.pk}/transcripts.zip?format=text"))

    assert found.namelist() == [
        "call.txt",
        f"CALL-{jobs[1].pk}.txt",
        f"{jobs[2].pk}.txt",
        "etc.txt",
        "manifest.jsonl",
    ]


def test_a_document_that_is_gone_or_broken_costs_its_own_file_only(api, caplog):
    batch = make_batch(api.tenant, "gone", "broken", "fine")
    gone, broken, _fine = [end(job) for job in jobs_of(batch)]
    default_storage.delete(gone.transcript.raw)
    with default_storage.open(broken.transcript.raw, "wb") as file:
        file.write(b"\x1f\x8b\x08 no gzip")

    found = read_zip(api.get(f"/v1/batches/{batch.pk}/transcripts.zip"))

    told = [json.loads(it) for it in found.read("manifest.jsonl").splitlines()]
    assert [it["left_out"] for it in told] == ["missing", "unreadable", None]
    assert found.namelist() == ["fine.json", "manifest.jsonl"]
    errors = [it.message for it in caplog.records if it.levelname == "ERROR"]
    assert errors == ["document unreadable"]


def test_pages_follow_each_other_without_a_gap(api, monkeypatch):
    monkeypatch.setattr(rows, "PAGE_ROWS", 2)
    monkeypatch.setattr(rows, "PAGE_TEXTS", 2)
    monkeypatch.setattr(lines, "CHUNK_BYTES", 1)
    monkeypatch.setattr(archive, "CHUNK_BYTES", 1)
    batch = make_batch(api.tenant, *"abcd")
    others = make_batch(api.tenant, *"xyz")
    for job in jobs_of(batch):
        end(job)
    for job in jobs_of(others):
        end(job, JobStatus.FAILED, error_code="upstream_error")
    for line in (1, 1, 1, 2, 4):
        BatchError.objects.create(batch=others, line=line, code="c", detail="d")

    path = f"/v1/batches/{batch.pk}"
    assert [it["custom_id"] for it in read_lines(api.get(f"{path}/results"))] == [
        *"abcd"
    ]
    names = read_zip(api.get(f"{path}/transcripts.zip")).namelist()
    assert names == ["a.json", "b.json", "c.json", "d.json", "manifest.jsonl"]
    found = read_lines(api.get(f"/v1/batches/{others.pk}/errors"))
    assert [it["line"] or it["custom_id"] for it in found] == [1, 1, 1, 2, 4, *"xyz"]


def test_a_batch_without_results_has_empty_ones(api):
    batch = make_batch(api.tenant, "a")

    for name in ("results", "errors"):
        assert api.get(f"/v1/batches/{batch.pk}/{name}").getvalue() == b""
    found = read_zip(api.get(f"/v1/batches/{batch.pk}/transcripts.zip"))
    assert found.namelist() == ["manifest.jsonl"]


@pytest.mark.parametrize("name", ["results", "errors", "transcripts.zip"])
def test_what_cannot_be_had_is_refused_before_a_byte_is_sent(api, batch, name):
    path = f"/v1/batches/{batch.pk}/{name}"

    assert_problem(api.get(path, {"Accept": "text/csv"}), 406, "not_acceptable")
    assert_problem(api.get(f"{path}?formats=srt"), 400, "parameter_unknown")
    head = api.client.head(path, headers=api.headers())
    assert (head.status_code, head.content) == (200, b"")
    if name == "transcripts.zip":
        assert_problem(api.get(f"{path}?format=docx"), 400, "parameter_invalid")
    Batch.objects.filter(pk=batch.pk).update(state=BatchState.PREPARING)
    assert_problem(api.get(path), 409, "batch_state_conflict")
    assert thread_limits.downloads()._acquired.total() == 0


@pytest.mark.django_db(transaction=True)
def test_who_hangs_up_ends_it_and_makes_room(api, batch, settings, monkeypatch):
    monkeypatch.setattr(archive, "CHUNK_BYTES", 1)
    settings.MAX_DOWNLOADS = 1
    thread_limits.downloads.cache_clear()
    path = f"/v1/batches/{batch.pk}/transcripts.zip"
    answer = api.get(path)
    assert next(iter(answer))
    read = []
    monkeypatch.setattr(archive, "_build", lambda job, _chosen: read.append(job) or b"")

    refused = api.get(path)
    answer.close()
    assert b"".join(answer) == b""

    assert_problem(refused, 503, "service_unavailable")
    assert refused.headers["Retry-After"] == "5"
    assert read == []
    unread = api.get(path)
    del unread
    gc.collect()
    assert len(read_zip(api.get(path)).namelist()) == 4
    assert len(read) == 3
    thread_limits.downloads.cache_clear()


@pytest.mark.django_db(transaction=True)
def test_it_is_the_same_over_asgi_and_ends_with_its_client(api, monkeypatch):
    monkeypatch.setattr(archive, "CHUNK_BYTES", 1)
    batch = make_batch(api.tenant, "one", "two")
    for job in jobs_of(batch):
        end(job)
    path = f"/v1/batches/{batch.pk}"
    over_wsgi = api.get(f"{path}/transcripts.zip").getvalue()
    inside = []

    async def look():
        client = AsyncClient()
        lines = await client.get(f"{path}/results", headers=api.headers())
        told = b"".join([it async for it in lines])
        whole = await client.get(f"{path}/transcripts.zip", headers=api.headers())
        parts = [it async for it in whole]
        cut = await client.get(f"{path}/transcripts.zip", headers=api.headers())
        inside.append(thread_limits.downloads()._acquired.total())
        async for _part in cut:
            break
        cut.close()
        inside.append(thread_limits.downloads()._acquired.total())
        return told, parts

    told, parts = asyncio.run(look())

    assert [json.loads(it)["custom_id"] for it in told.splitlines()] == ["one", "two"]
    assert len(parts) == 3
    assert b"".join(parts) == over_wsgi
    assert inside == [1, 0]
