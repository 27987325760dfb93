"""Squashed migrations and the ones they replace make the same schema."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from workers.embedded import binaries

APPS = ("jobs", "transcripts", "webhooks")


@contextmanager
def empty_database(name: str) -> Iterator[BaseDatabaseWrapper]:
    """Create a database beside the test's own, and drop it afterwards."""
    quoted = connection.ops.quote_name(name)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {quoted} TEMPLATE template0")
    settings = connection.settings_dict | {"NAME": name, "OPTIONS": {}}
    other = type(connections["default"])(settings, alias=name)
    connections[name] = other
    try:
        yield other
    finally:
        other.close()
        del connections[name]
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {quoted}")


def migrate(database: BaseDatabaseWrapper, *, is_squashed: bool) -> list[str]:
    """Apply the apps' migrations; return the names of those that were applied."""
    executor = MigrationExecutor(database)
    if not is_squashed:
        executor.loader = MigrationLoader(database, replace_migrations=False)
    names = [key for key in executor.loader.graph.nodes if key[0] in APPS]
    if not is_squashed:
        names = [key for key in names if "_squashed_" not in key[1]]
    chosen = [max(key for key in names if key[0] == app) for app in APPS]
    plan = executor.migration_plan(chosen)
    executor.migrate(chosen, plan=plan)
    return [migration.name for migration, _ in plan]


def dump_schema(database: BaseDatabaseWrapper) -> str:
    """Return what pg_dump says of the schema, without its random restrict keys."""
    settings = database.settings_dict
    command = [
        binaries.find_postgres() / "pg_dump",
        "--schema-only",
        f"--dbname={settings['NAME']}",
        f"--host={settings['HOST']}",
        f"--port={settings['PORT']}",
        f"--username={settings['USER']}",
    ]
    dumped = subprocess.run(
        command,
        env={"PGPASSWORD": settings["PASSWORD"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r"^\\(un)?restrict .*$", "", dumped.stdout, flags=re.MULTILINE)


@pytest.mark.django_db(transaction=True)
def test_squashed_migrations_and_the_replaced_ones_make_the_same_schema():
    name = connection.settings_dict["NAME"]
    with (
        empty_database(f"{name}_squashed") as squashed,
        empty_database(f"{name}_stepwise") as stepwise,
    ):
        names = migrate(squashed, is_squashed=True)
        assert len([name for name in names if "_squashed_" in name]) == len(APPS)
        assert len(migrate(stepwise, is_squashed=False)) > 30
        assert dump_schema(squashed) == dump_schema(stepwise)

        assert migrate(stepwise, is_squashed=True) == []
