"""`manage.py after_restore`: events of another cluster lie before everything to come."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from jobs.api import event_stream
from jobs.models import Beacon, Event, Worker
from jobs.retention import restoring
from tests.support.factories import make_job, make_tenant

FUTURE = "4000000000"


def xids():
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT xid::text FROM jobs_event")
        return {xid for (xid,) in cursor.fetchall()}


@pytest.fixture
def restored(transactional_db, monkeypatch):
    """Events as another cluster numbered them, in its future and so in nobody's sight."""
    monkeypatch.setattr(restoring, "SLICE", 2)
    tenant = make_tenant()
    for _ in range(5):
        make_job(tenant)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_event SET xid = %s::xid8", [FUTURE])
    return tenant


def test_all_events_are_put_before_what_comes(restored, capsys):
    call_command("after_restore")
    call_command("after_restore")

    assert xids() == {restoring.FIRST}
    assert f"{Event.objects.count()} events" in capsys.readouterr().out
    horizon = event_stream.read_horizon()
    new = make_job(restored)
    page = event_stream.read_page(tenants=[restored.pk], after=horizon, limit=9)
    assert {each.job_id for each in page.events} == {new.pk}


def test_it_refuses_where_the_platform_runs(restored):
    Worker.objects.create(name="w", slots=1, seen_at=timezone.now())
    Beacon.objects.create(name="d", role="dispatcher", seen_at=timezone.now())

    with pytest.raises(
        CommandError, match=r"These processes use this database: w, d\."
    ):
        call_command("after_restore")
    assert xids() == {FUTURE}

    call_command("after_restore", although_alive=True)
    assert xids() == {restoring.FIRST}
    assert not Worker.objects.exists()


def test_who_lived_when_the_dump_was_made_is_forgotten(restored):
    long_ago = timezone.now() - timedelta(hours=1)
    Worker.objects.create(name="w", slots=1, seen_at=long_ago)

    call_command("after_restore")

    assert not Worker.objects.exists()
