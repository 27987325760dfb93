from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from jobs.models import IdempotencyKey, Job
from tests.support.factories import make_job, make_tenant
from workers.queue import storage_sweep

pytestmark = pytest.mark.django_db
LATER = datetime.now(UTC) + timedelta(days=2)


def keep(name: str) -> str:
    return default_storage.save(name, ContentFile(b"x"))


def test_only_old_objects_without_a_row_are_erased():
    job = make_job()
    kept = keep(f"audio/{job.tenant_id}/1/kept.wav")
    Job.objects.filter(pk=job.pk).update(audio_url="", upload=kept)
    orphans = [
        keep("audio/t/2/orphan.wav"),
        keep("raw/t/j/orphan.json.gz"),
        keep("incoming/half.upload"),
    ]

    storage_sweep.sweep(older_than=datetime.now(UTC) - timedelta(days=1))
    assert all(default_storage.exists(name) for name in [kept, *orphans])

    storage_sweep.sweep(older_than=LATER)

    assert default_storage.exists(kept)
    assert [name for name in orphans if default_storage.exists(name)] == []


def test_idempotency_keys_are_forgotten_after_their_time():
    now = datetime.now(UTC)
    for age in (1, 25):
        IdempotencyKey.objects.create(
            tenant=make_tenant(),
            route="submit",
            key=str(age),
            digest=b"",
            status_code=202,
            body={},
            created_at=now - timedelta(hours=age),
        )

    storage_sweep.sweep(older_than=LATER)

    assert [each.key for each in IdempotencyKey.objects.all()] == ["1"]
