from datetime import UTC, datetime, timedelta, timezone

import pytest
from rest_framework import serializers

from jobs.api.jobs.serializers import JobOutput
from jobs.models import Content, Job, Mode, Priority, Tenant
from jobs.models.ids import new_id
from jobs.state import JobStatus

AT = datetime(2026, 12, 1, 11, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "fields",
    [
        {"audio_url": "https://a.example.com/1?secret=2"},
        {
            "filename": "a.wav",
            "size_bytes": 2**40,
            "status": JobStatus.FAILED,
            "error_code": "x",
            "error_detail": "y",
            "finished_at": AT.replace(microsecond=0),
            "started_at": AT.astimezone(timezone(timedelta(hours=5, minutes=30))),
            "duration_seconds": 3,
            "region_id": "eu",
            "retry_of_id": new_id(),
            "priority": Priority.URGENT,
        },
        {"status": JobStatus.COMPLETED, "erased_content": int(Content.AUDIO)},
        {"ready": False, "run_at": AT, "metadata": {"a": [1]}, "custom_id": "c"},
        {
            "mode": Mode.LIVE,
            "route": {"mode": "stream"},
            "retention": {"audio_days": 0},
        },
        {"erased_at": AT, "expires_at": AT, "warnings": [{"code": "x"}]},
    ],
)
def test_a_job_is_represented_as_by_the_framework(fields):
    job = Job(tenant=Tenant(), created_at=AT, **fields)
    output = JobOutput()

    body = output.to_representation(job)

    assert body == serializers.Serializer.to_representation(output, job)
    assert list(body) == list(output.fields)
