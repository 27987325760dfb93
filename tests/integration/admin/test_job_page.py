"""A job's page: what happened, what was said, and who looked."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Event
from tests.support.factories import make_job
from tests.support.rich_job import AUDIO, WORDS, make_rich_job
from workers.admin_site.job_page import chart, timeline, views


@pytest.fixture
def ada(db):
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


@pytest.fixture
def job(db):
    return make_rich_job()


def page_of(job, part="change"):
    return f"/admin/jobs/job/{job.pk}/{part}/"


def looked(job):
    kinds = (views.AUDIO_ACCESS, views.TRANSCRIPT_ACCESS)
    rows = Event.objects.filter(job=job, type__in=kinds).order_by("pk")
    return list(rows.values_list("type", "actor"))


def test_it_shows_what_happened_and_leads_on(ada, job, settings):
    settings.FLOWER_URL = "http://flower.example"

    page = ada.get(page_of(job)).content.decode()

    for shown in (
        *(
            "call-17.wav",
            "call-17",
            "https://acme.example/done",
            "&quot;order&quot;: 17",
        ),
        *("dg-1.2", "dg-6.1", "unavailable", "2.80 s", "$0.004300", "503"),
        *("https://hooks.acme.example/in", "attempt 2, scheduled", "400 ms"),
        *(f"/admin/jobs/tenant/{job.tenant_id}/", f"/admin/jobs/batch/{job.batch_id}/"),
        f'href="http://flower.example/task/{job.pk}.1"',
    ):
        assert shown in page, shown
    assert "SECRET" not in page
    assert "private answer" not in page
    assert WORDS[-1] not in page
    assert looked(job) == []


def test_its_picture_is_drawn_to_scale(job):
    life, told = chart.build_charts(timeline.gather(job), now=timezone.now())

    assert (life.length, told.length) == ("9.0 s", "6.0 s")
    moves, first, second = life.rows
    assert [(bar.kind, bar.x, bar.width) for bar in moves.bars] == [
        ("queued", 0, 111),
        ("processing", 111, 333),
        ("retry", 444, 223),
        ("processing", 667, 333),
    ]
    assert [(bar.kind, bar.x, bar.width) for bar in first.bars] == [
        ("failed", 133, 311)
    ]
    assert second.bars[0].kind == "completed"
    (lane,) = told.rows
    assert [bar.kind for bar in lane.bars] == ["queued", "failed", "completed"]


def test_a_job_that_waits_or_is_erased_has_a_page_too(ada):
    waiting, gone = make_job(), make_job(status="completed")
    ada.post(
        "/admin/jobs/job/",
        {"action": "erase", "_selected_action": str(gone.pk), "confirmed": "1"},
    )

    for job in (waiting, gone):
        page = ada.get(page_of(job)).content.decode()
        assert ">Timeline<" in page
        assert "show-content" not in page


def test_a_page_costs_few_queries_whatever_hangs_on_it(ada, job):
    with CaptureQueriesContext(connection) as asked:
        ada.get(page_of(job))

    assert len(asked) < 25
    assert not [q for q in asked if "COUNT(" in q["sql"]]


def test_the_audio_is_heard_in_parts_and_the_look_is_written_down_once(ada, job):
    whole = ada.get(page_of(job, "audio"))
    part = ada.get(page_of(job, "audio"), headers={"Range": "bytes=10-19"})
    outside = ada.get(page_of(job, "audio"), headers={"Range": "bytes=9999999-"})

    assert whole.headers["Content-Type"] == "audio/wav"
    assert b"".join(whole.streaming_content) == AUDIO
    assert part.status_code == 206
    assert b"".join(part.streaming_content) == AUDIO[10:20]
    assert "no-store" in part.headers["Cache-Control"]
    assert outside.status_code == 416
    assert looked(job) == [("job.audio_heard", "admin:ada")]
    Event.objects.filter(type=views.AUDIO_ACCESS).update(
        created_at=timezone.now() - views.ACCESS_PERIOD - timedelta(seconds=1)
    )
    b"".join(ada.get(page_of(job, "audio")).streaming_content)
    assert len(looked(job)) == 2


def test_the_transcript_is_read_and_the_look_is_written_down(ada, job):
    answer = ada.get(page_of(job, "transcript"))

    words = [word["punctuated_word"] for word in answer.json()["channels"][0]["words"]]
    assert words == WORDS
    assert "no-store" in answer.headers["Cache-Control"]
    assert looked(job) == [("job.transcript_read", "admin:ada")]


def test_what_is_not_there_is_no_look(ada):
    job = make_job()

    audio, text = (ada.get(page_of(job, part)) for part in ("audio", "transcript"))

    assert (audio.status_code, audio.json()["code"]) == (404, "audio_not_stored")
    assert (text.status_code, text.json()["code"]) == (409, "result_not_ready")
    nobody = page_of(job, "audio").replace(str(job.pk), str(Event().pk))
    assert ada.get(nobody).status_code == 404
    assert looked(job) == []


def test_nobody_else_hears_or_reads(job):
    customer, staff = Client(), Client()
    customer.force_login(User.objects.create_user("eve"))
    staff.force_login(User.objects.create_user("stan", is_staff=True))

    for part in ("audio", "transcript"):
        assert Client().get(page_of(job, part)).status_code == 302
        assert customer.get(page_of(job, part)).status_code == 302
        assert staff.get(page_of(job, part)).status_code == 403
    assert looked(job) == []
