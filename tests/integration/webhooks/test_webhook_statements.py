"""What a delivery costs the database, so that nothing is added without being seen."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from workers.webhooks.delivery import dispatch, loading
from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.messages import secrets


@pytest.mark.parametrize(
    ("status", "statements"),
    [(200, ["SELECT", "WITH"]), (500, ["SELECT", "WITH", "UPDATE"])],
    ids=["delivered", "failed"],
)  # fmt: skip
def test_an_attempt_takes_two_statements_and_a_failed_one_three(
    world, status, statements
):
    world.delivery("https://hooks.example/")
    secrets.get_or_create_tenant_secret(world.tenant)
    (claim,) = world.claim()

    with CaptureQueriesContext(connection) as captured:
        world.attempt(claim, post=lambda *_a, **_o: PostResult(status_code=status))

    verbs = [each["sql"].split(maxsplit=1)[0] for each in captured]
    assert [v for v in verbs if v not in {"SAVEPOINT", "RELEASE"}] == statements


@pytest.mark.parametrize(
    ("sql", "types"),
    [
        (dispatch._FIND_WORK_SQL, "timestamptz, timestamptz"),
        (loading._build_sql(), "uuid[], int[], timestamptz"),
    ],
    ids=["find work", "load"],
)
def test_a_plan_made_while_the_tables_are_empty_scans_none_of_them_later(
    world, sql, types
):
    world.delivery("https://hooks.example/")
    arguments = ", ".join(["NULL"] * len(types.split(", ")))

    with connection.cursor() as cursor:
        # As after a migration, whatever other tests have left.
        cursor.execute(
            "UPDATE pg_class SET relpages = 0, reltuples = -1 WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace"
        )
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE tested ({types}) AS {sql}")
        cursor.execute(f"EXPLAIN EXECUTE tested ({arguments})")
        plan = [line for (line,) in cursor.fetchall()]
        cursor.execute("DEALLOCATE tested")

    scanned = {line.split(" on ")[1].split()[0] for line in plan if "Seq Scan" in line}
    # One row per process, and few per tenant.
    assert scanned <= {"jobs_worker", "webhooks_webhooksecret"}
