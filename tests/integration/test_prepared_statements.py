"""What is inserted and read with prepared statements is what the ORM has."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address

import psycopg
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models.functions import Now

from jobs.accounts import authentication
from jobs.models import (
    ApiKey,
    Event,
    IdempotencyKey,
    Job,
    Priority,
    Tenant,
    prepared_statements,
)
from jobs.state import JobStatus
from tests.support.factories import make_tenant

AT = datetime(2026, 12, 1, 11, 0, 0, 123456, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def build_job(tenant, **fields):
    return Job(tenant=tenant, audio_url="https://a.example.com/1", **fields)


def values_of(row):
    return {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if not field.primary_key
    }


def prepared_names():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements")
        return [name for (name,) in cursor.fetchall()]


@pytest.fixture
def new_connection():
    """Close the pool too, which keeps connections with their statements."""
    connection.close()
    connection.close_pool()
    yield
    connection.close()
    connection.close_pool()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "options": {"keyterm": ["é", 'q"\\'], "model": "nova-3"},
            "metadata": {"n": 1.5, "none": None, "yes": True},
            "status": JobStatus.QUEUED,
            "priority": Priority.URGENT,
            "size_bytes": 2**40,
            "duration_seconds": 0.1,
            "channels": 2,
            "is_silent": False,
            "reserved_seconds": Decimal("12.345"),
            "run_at": AT + timedelta(microseconds=1),
            "warnings": [{"code": "x"}],
            "filename": "a\u2028b.wav",
            "ready": False,
        },
    ],
)
def test_an_inserted_row_is_what_the_orm_inserts(fields):
    tenant = make_tenant()
    by_orm = build_job(tenant, created_at=AT, **fields)
    ours = build_job(tenant, created_at=AT, **fields)
    by_orm.save(force_insert=True)

    prepared_statements.insert(ours)

    assert not ours._state.adding
    assert values_of(Job.objects.get(pk=ours.pk)) == values_of(
        Job.objects.get(pk=by_orm.pk)
    )


def test_rows_of_one_insert_are_there_together_or_not():
    tenant = make_tenant()
    job = build_job(tenant)
    event = Event(tenant=tenant, job=job, type="t", data={"at": AT}, created_at=AT)
    record = IdempotencyKey(
        tenant=tenant,
        route="r",
        key="k",
        digest=bytes(range(32)),
        status_code=202,
        body={},
        created_at=AT,
    )
    prepared_statements.insert(job, event, record)

    stored = IdempotencyKey.objects.get()
    assert (bytes(stored.digest), stored.status_code) == (bytes(range(32)), 202)
    assert Event.objects.get(job=job).data == {"at": "2026-12-01T11:00:00.123Z"}
    assert Event.objects.get().xid is not None
    again = build_job(tenant)
    with pytest.raises(IntegrityError):
        prepared_statements.insert(again, record)
    connection.needs_rollback = False
    connection.connection.rollback()
    assert not Job.objects.filter(pk=again.pk).exists()


def test_many_rows_of_a_table_take_the_statement_of_one():
    tenant = make_tenant()
    jobs = [build_job(tenant, created_at=AT, filename=f"{n}") for n in range(3)]

    one, _ = prepared_statements.build_insertion(jobs[:1])
    many, parameters = prepared_statements.build_insertion(jobs)
    prepared_statements.fetch(many, parameters)

    assert one == many
    assert sorted(Job.objects.values_list("filename", flat=True)) == ["0", "1", "2"]


def test_only_lenient_rows_may_exist():
    tenant = make_tenant()
    job, other = build_job(tenant, created_at=AT), build_job(tenant, created_at=AT)
    prepared_statements.insert(job)

    event = Event(tenant=tenant, job=job, type="t", data={}, created_at=AT)
    build = prepared_statements.build_insertion
    prepared_statements.fetch(*build([event], lenient=[job, other]))

    assert set(Job.objects.values_list("pk", flat=True)) == {job.pk, other.pk}
    assert Event.objects.count() == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        prepared_statements.fetch(*build([job], lenient=[event]))


def test_statements_of_one_round_trip_return_their_own_rows():
    tenant = make_tenant()
    insertion = prepared_statements.build_insertion([build_job(tenant)])

    with transaction.atomic():
        found = prepared_statements.fetch_many(
            [("SELECT $1::int", [1]), insertion, ("SELECT count(*) FROM jobs_job", [])]
        )

    assert found == [[(1,)], [], [(1,)]]
    with pytest.raises(DataError), transaction.atomic():
        prepared_statements.fetch_many([("SELECT 1", []), ("SELECT 1 / $1::int", [0])])
    assert prepared_statements.fetch("SELECT 1") == [(1,)]


def test_an_expression_is_no_value():
    with pytest.raises(TypeError):
        prepared_statements.insert(build_job(make_tenant(), created_at=Now()))


def test_a_loaded_key_is_what_the_orm_reads():
    tenant = make_tenant(default_options={"model": "nova-3"}, allowed_regions=["eu"])
    made, text = authentication.create_api_key(
        tenant=tenant, allowed_ips=["127.0.0.0/8"], expires_at=AT + timedelta(days=9)
    )

    address = ip_address("127.0.0.1")
    authentication.verify_key(text, now=AT, address=address)  # records its use
    key = authentication.verify_key(text, now=AT, address=address)

    assert values_of(key) == values_of(ApiKey.objects.get(pk=made.pk))
    assert values_of(key.tenant) == values_of(Tenant.objects.get(pk=tenant.pk))


@pytest.mark.django_db(transaction=True)
def test_a_statement_is_prepared_once_whatever_its_values(new_connection):
    tenant = make_tenant()
    for number, size in enumerate([None, 1, 2**40, None, 70_000]):
        run_at = AT if number % 2 else None
        prepared_statements.insert(build_job(tenant, size_bytes=size, run_at=run_at))

    assert len(prepared_names()) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("allowed", "prepared"), [(False, 0), (True, 1)])
def test_behind_a_pooler_statements_are_prepared_only_if_it_may(
    new_connection, monkeypatch, settings, allowed, prepared
):
    """A pooler announces another process id than the server's."""
    settings.DB_POOLER_PREPARES = allowed
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", -1)

    for _ in range(5):
        assert prepared_statements.fetch("SELECT $1::int", ["1"]) == [(1,)]

    assert len(prepared_names()) == prepared
