import json
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings

from jobs.api.jobs.serializers import JobOutput
from jobs.models import Event, Job
from transcripts.models import Transcript
from workers.webhooks.messages import payloads

JOB_ID = UUID("0199aaaa-0000-7000-8000-000000000001")
EVENT_ID = UUID("0199aaaa-0000-7000-8000-000000000002")


def body_of(
    job: Job | None,
    transcript: Transcript | None = None,
    *,
    inline_result: bool = True,
    **event,
) -> dict:
    return payloads.build_body(
        event=Event(
            id=EVENT_ID,
            type=event.pop("type", "job.completed"),
            created_at=datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC),
            **event,
        ),
        job=job,
        transcript=transcript,
        base_url="https://api.example",
        inline_result=inline_result,
    )


def completed() -> Job:
    return Job(
        id=JOB_ID, status="completed", metadata={"order": "7"}, duration_seconds=12.5
    )


def transcript_of(text: str) -> Transcript:
    return Transcript(
        job_id=JOB_ID,
        text=text,
        language="en",
        model="general-nova-3",
        confidence=0.98,
        duration_seconds=12.5,
        channels=1,
        words=2,
    )


def test_a_completed_job_is_told_with_its_result():
    assert body_of(completed(), transcript_of("Hello Grüße")) == {
        "id": "msg_0199aaaa000070008000000000000002",
        "type": "job.completed",
        "timestamp": "2026-11-22T12:00:00.123Z",
        "api_version": "v1",
        "data": {
            "id": str(JOB_ID),
            "object": "job",
            "status": "completed",
            "batch_id": None,
            "metadata": {"order": "7"},
            "duration_seconds": 12.5,
            "error": None,
            "result": {
                "text": "Hello Grüße",
                "language": "en",
                "model": "general-nova-3",
                "confidence": 0.98,
                "duration_seconds": 12.5,
                "channels": 1,
                "words": 2,
            },
            "result_url": f"https://api.example/v1/transcripts/{JOB_ID}",
        },
    }


def test_a_thin_message_says_where_the_result_is_and_nothing_of_it():
    full = body_of(completed(), transcript_of("Hello"))
    thin = body_of(completed(), transcript_of("Hello"), inline_result=False)

    assert thin["data"] == {**full["data"], "result": None}
    assert "Hello" not in json.dumps(thin)


def test_the_result_is_where_the_jobs_api_says():
    told = body_of(completed(), transcript_of("Hello"))["data"]["result_url"]

    shown = JobOutput(completed()).get_result_url(completed())

    assert told.removeprefix("https://api.example") == shown.removeprefix(
        settings.BASE_URL
    )


def test_a_failed_job_is_told_with_its_error_and_no_result():
    job = Job(id=JOB_ID, status="failed", error_code="bad_audio", error_detail="No.")

    data = body_of(job, type="job.failed")["data"]

    assert data["error"] == {"code": "bad_audio", "detail": "No."}
    assert (data["result"], data["result_url"]) == (None, None)


def test_a_result_is_pushed_up_to_the_cap_and_not_a_byte_more():
    rest = len(payloads.serialize(payloads.build_result(transcript_of(""), options={})))
    largest = "é" * ((payloads.MAX_RESULT_BYTES - rest) // 2)
    largest += "x" * (payloads.MAX_RESULT_BYTES - rest - len(largest.encode()))

    fits = body_of(completed(), transcript_of(largest))["data"]
    too_large = body_of(completed(), transcript_of(largest + "x"))["data"]

    assert fits["result"]["text"] == largest
    assert "result_omitted" not in fits
    assert too_large["result"] is None
    assert too_large["result_omitted"] == "too_large"
    assert too_large["result_url"] == fits["result_url"]


def test_an_event_without_a_job_is_told_as_it_is():
    body = body_of(None, type="webhook.ping", data={"hello": "there"})

    assert (body["type"], body["data"]) == ("webhook.ping", {"hello": "there"})


def test_the_bytes_are_compact_utf8():
    assert payloads.serialize({"a": ["ü", 1]}) == '{"a":["ü",1]}'.encode()
    assert json.loads(payloads.serialize({"at": datetime(2026, 1, 1, tzinfo=UTC)}))
