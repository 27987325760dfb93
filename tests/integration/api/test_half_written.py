"""Whatever fails while a job is accepted, row and object are there together or not."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, OperationalError, connection

from jobs import services
from jobs.audio import uploads
from jobs.models import IdempotencyKey, Job
from jobs.rest import idempotency
from tests.support.api import Api, assert_nothing_written, assert_problem, files_in
from tests.support.factories import make_wav

KEY = {"Idempotency-Key": "k"}


def failing(error):
    def fail(*_args, **_kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (services, "submit_job"),
        (services, "_build_event"),
        (services.prepared_statements, "insert"),
        (idempotency, "IdempotencyKey"),
    ],
)
def test_a_failure_on_the_way_to_the_commit_takes_the_object_back(
    api, media, monkeypatch, where, name
):
    monkeypatch.setattr(where, name, failing(RuntimeError("secret detail")))

    answer = api.upload(headers=KEY)

    problem = assert_problem(answer, 500, "server_error")
    assert "secret" not in str(problem)
    assert_nothing_written(media)


def test_a_storage_that_fails_leaves_no_row(api, media, monkeypatch):
    monkeypatch.setattr(uploads.default_storage, "save", failing(OSError("disk")))

    assert_problem(api.upload(), 500, "server_error")
    assert_nothing_written(media)


@pytest.mark.django_db(transaction=True)
def test_a_refused_commit_takes_the_object_back(media, monkeypatch):
    api = Api()
    monkeypatch.setattr(connection, "_commit", failing(IntegrityError("no")))

    answer = api.upload(headers=KEY)

    monkeypatch.undo()
    assert_problem(answer, 500, "server_error")
    assert_nothing_written(media)


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_may_have_written_the_row_so_the_object_stays(
    media, monkeypatch
):
    api, insert = Api(), services.prepared_statements.insert

    def insert_then_lose_the_line(*rows):
        insert(*rows)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(
        services.prepared_statements, "insert", insert_then_lose_the_line
    )
    answer = api.upload()
    monkeypatch.undo()

    assert_problem(answer, 503, "service_unavailable")
    assert files_in(media) == [Job.objects.get().upload]


@pytest.mark.django_db(transaction=True)
def test_an_unanswered_commit_may_stand_so_the_object_stays(media, monkeypatch):
    api = Api()
    real = connection._commit

    def commit_then_lose_the_line():
        real()
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "_commit", commit_then_lose_the_line)
    answer = api.upload(headers=KEY)
    monkeypatch.undo()

    problem = assert_problem(answer, 503, "service_unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert "server closed" not in str(problem)
    assert files_in(media) == [Job.objects.get().upload]

    again = api.upload(headers=KEY)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert Job.objects.count() == 1
    assert files_in(media) == [Job.objects.get().upload]


@pytest.mark.django_db(transaction=True)
def test_a_repeated_upload_keeps_one_object(media):
    api = Api()

    first = api.upload(headers=KEY)
    second = api.upload(headers=KEY)

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert files_in(media) == [Job.objects.get().upload]


def test_another_file_under_the_same_key_is_a_conflict_and_not_kept(api, media):
    api.upload(headers=KEY)
    kept = files_in(media)
    other = SimpleUploadedFile("a.wav", make_wav(0.7), "audio/wav")

    answer = api.form({"file": other}, {"Idempotency-Key": "k"})

    assert_problem(answer, 422, "idempotency_key_reused")
    assert files_in(media) == kept
    assert (Job.objects.count(), IdempotencyKey.objects.count()) == (1, 1)
