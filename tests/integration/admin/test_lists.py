"""Lists of many rows: nothing counted, everything found by what it is called."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jobs.admin import lists as admin_lists
from jobs.models import Batch, Job, Region
from tests.support.factories import make_attempt, make_job, make_region, make_tenant
from tests.support.webhooks import make_delivery

LIST = "/admin/jobs/job/"


@pytest.fixture
def ada(db):
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def found(client, **asked):
    answer = client.get(LIST, asked)
    assert answer.status_code == 200
    return {job.pk for job in answer.context["cl"].result_list}


def test_a_job_is_found_by_whatever_it_is_called(ada):
    acme, other = make_tenant(name="acme"), make_tenant(name="acme-2")
    batch = Batch.objects.create(tenant=other, total=2)
    plain, batched = make_job(acme), make_job(other)
    called = make_job(other, status="completed")
    Job.objects.filter(pk=plain.pk).update(custom_id="episode-7")
    Job.objects.filter(pk=batched.pk).update(batch=batch)
    make_attempt(called, request_id="req-7")

    assert found(ada, q=str(plain.pk)) == {plain.pk}
    assert found(ada, q="episode-7") == {plain.pk}
    assert found(ada, q="req-7") == {called.pk}
    assert found(ada, q=str(batch.pk)) == {batched.pk}
    assert found(ada, q=" acme ") == {plain.pk}
    assert found(ada, q="acm") == set()
    assert found(ada, q="") == found(ada) == {plain.pk, batched.pk, called.pk}
    assert found(ada, tenant__id__exact=acme.pk, status__exact="queued") == {plain.pk}


def test_a_day_is_a_stretch_of_ids(ada):
    now = timezone.now()
    yesterday = now - timedelta(days=1)
    then = admin_lists.first_id_at(yesterday)
    new = make_job()
    Job.objects.create(pk=then, tenant=new.tenant, audio_url="https://a.example.com")

    assert found(ada, created=f"{yesterday:%Y-%m-%d}") == {then}
    assert found(ada, created="hour") == {new.pk}
    assert found(ada, created="nonsense") == {then, new.pk}
    assert found(ada, kind="live") == set()


def test_a_page_is_read_and_nothing_counted(ada, monkeypatch):
    monkeypatch.setattr("jobs.admin.pages.JobAdmin.list_per_page", 2)
    tenant = make_tenant()
    jobs = [make_job(tenant).pk for _ in range(5)][::-1]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")

    with CaptureQueriesContext(
        connection,
    ) as ran:
        answers = [ada.get(LIST, {"p": page}) for page in (1, 2, 3)]

    assert [[job.pk for job in each.context["cl"].result_list] for each in answers] == [
        jobs[:2],
        jobs[2:4],
        jobs[4:],
    ]
    assert not [
        each["sql"]
        for each in ran
        if "COUNT(" in each["sql"] and "jobs_job" in each["sql"]
    ]
    says = [each.context["cl"].paginator.summary for each in answers]
    assert says == ["1 to 2 of about 5.", "3 to 4 of about 5.", "5 to 5, the last."]
    for beyond in ("4", "101", "x", "9" * 30):
        assert ada.get(LIST, {"p": beyond}, follow=True).status_code == 200


def test_a_batch_shows_its_state_and_progress(ada):
    batch = Batch.objects.create(
        tenant=make_tenant(), total=1200, completed=300, failed=7
    )
    page = ada.get("/admin/jobs/batch/").content.decode()
    own = ada.get(f"/admin/jobs/batch/{batch.pk}/change/").content.decode()

    for text in ("307 of 1,200", "running", 'max="1200" value="307"'):
        assert text in page
        assert text in own
    assert f"?batch__id__exact={batch.pk}&amp;status__exact=failed" in own


def test_keys_are_called_what_they_are(ada):
    assert "API keys" in ada.get("/admin/jobs/apikey/").content.decode()


@pytest.mark.parametrize("page", ["list", "detail"])
def test_what_is_normal_has_no_red_cross_and_what_is_not_is_marked(ada, page):
    delivery = make_delivery()
    rows = [make_region("eu"), delivery.tenant, delivery, make_job()]
    urls = {
        row: reverse(
            f"admin:{row._meta.app_label}_{row._meta.model_name}_"
            + ("changelist" if page == "list" else "change"),
            args=[] if page == "list" else [row.pk],
        )
        for row in rows
    }

    pages = {row: ada.get(url).content.decode() for row, url in urls.items()}

    assert [row for row in rows if "icon-no.svg" in pages[row]] == []
    Region.objects.filter(name="eu").update(is_enabled=False, is_drained=True)
    text = ada.get(urls[rows[0]]).content.decode()
    assert text.count("icon-no.svg") == 1
    assert (
        "yes"
        in text.partition("field-is_drained")[2].partition(
            "</t" if page == "list" else "</div>"
        )[0]
    )
