"""Old code runs beside the new schema: docs/upgrades.md has the rule, this holds it."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db import connection, migrations
from django.db.migrations.loader import MigrationLoader
from django.db.models import Field

from jobs.models import Attempt, new_id
from tests.support.factories import make_job, make_region

OURS = {"jobs", "transcripts", "webhooks"}
# A trigger gives older code the tenant of the attempt's job.
BY_TRIGGER = {"jobs.Attempt.tenant"}


def _added() -> Iterator[Field]:
    """Yield what migrations added to tables that were there before."""
    for (app, name), migration in MigrationLoader(None).disk_migrations.items():
        if app not in OURS or name.startswith("0001"):
            continue
        operations = list(migration.operations)
        for each in migration.operations:
            operations += getattr(each, "state_operations", None) or []
        new = {each.name_lower for each in operations if _makes_a_table(each)}
        for each in operations:
            if (
                isinstance(each, migrations.AddField)
                and each.model_name_lower not in new
            ):
                fields = apps.get_model(app, each.model_name)._meta
                found = {field.name: field for field in fields.local_fields}
                if each.name in found:
                    yield found[each.name]


def _makes_a_table(operation: object) -> bool:
    return isinstance(operation, migrations.CreateModel)


@pytest.mark.django_db
def test_every_added_column_can_be_left_out_by_code_that_does_not_know_it():
    added = {(each.model._meta.db_table, each.column): str(each) for each in _added()}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE is_nullable = 'NO' AND column_default IS NULL"
        )
        must_be_given = set(cursor.fetchall())

    assert len(added) > 50
    assert {added[each] for each in added if each in must_be_given} == BY_TRIGGER


@pytest.mark.django_db
def test_an_attempt_of_code_that_knows_no_tenant_is_its_jobs_tenants():
    job, region = make_job(), make_region()

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO jobs_attempt (id, job_id, lease_token, region_id, worker,"
            " outcome, request_id, error_code, started_at)"
            " VALUES (%s, %s, 1, %s, '', 'open', '', '', now())",
            [new_id(), job.pk, region.pk],
        )

    assert Attempt.objects.get().tenant == job.tenant
