"""What holds for every test, and what every run says at its end."""

import ssl
from collections.abc import Iterator
from functools import cache
from typing import Any

import certifi
import pytest
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from jobs.telemetry import log_context, tracing
from transcribe_platform import database_clock
from transcribe_platform.middleware.static_files import StaticFilesMiddleware
from workers.liveness.heartbeat import Heartbeat

LOUD = "NOT tested"
# Their rows are written by migrations.
MIGRATED_TABLES = {
    *("auth_group", "auth_group_permissions", "auth_permission"),
    *("django_content_type", "django_migrations"),
}
# A busy machine takes longer than 200 ms for an example: that is no fault of the code.
hypothesis_settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def nothing_of_the_test_before() -> Iterator[None]:
    """Forget the trace and the names that a request of another test left."""
    log_context.bind()
    with tracing.within(None):
        yield


@pytest.fixture(scope="session", autouse=True)
def no_thread_beats_here() -> Iterator[None]:
    """Tests beat by hand: a thread would write rows into the tests after its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Heartbeat, "_run", lambda self: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def the_clock_is_the_hosts() -> Iterator[None]:
    """Tests move it; the database's cannot be moved."""
    connection_created.disconnect(dispatch_uid=database_clock.__name__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database_clock, "follow", lambda: None)
        patch.setattr(database_clock, "_anchor", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def rows_are_deleted_and_tables_not_truncated() -> Iterator[None]:
    """Make the end of a test with committed rows cheap: TRUNCATE takes 100 ms of CPU.

    Foreign keys are deferred, so the order of the tables does not matter.
    """

    def delete_rows(_self: TransactionTestCase) -> None:
        tables = set(connection.introspection.django_table_names()) - MIGRATED_TABLES
        deletes = (f"DELETE FROM {connection.ops.quote_name(name)}" for name in tables)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(";".join(deletes))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", delete_rows)
        yield


@pytest.fixture(scope="session", autouse=True)
def public_authorities_are_loaded_once() -> Iterator[None]:
    """Share httpx's default TLS context: each client would load it anew, for 25 ms."""
    create, public = ssl.create_default_context, certifi.where()
    create_public = cache(lambda: create(cafile=public))

    def create_or_share(*args: Any, **options: Any) -> ssl.SSLContext:
        is_default = not args and options == {"cafile": public}
        return create_public() if is_default else create(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", create_or_share)
        yield


@pytest.fixture(scope="session", autouse=True)
def static_files_are_looked_for_once() -> Iterator[None]:
    """Each test client makes the middleware anew: 40 ms of looking at the same files."""
    look, found = StaticFilesMiddleware.add_files_from_finders, dict[str, Any]()

    def remember(self: StaticFilesMiddleware) -> None:
        if not found:
            look(self)
            found.update(self.files)
        self.files = dict(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StaticFilesMiddleware, "add_files_from_finders", remember)
        yield


def pytest_terminal_summary(terminalreporter) -> None:
    """Say in red what could not be tested on this machine, and why."""
    skipped = terminalreporter.getreports("skipped")
    reasons = {each.longrepr[2] for each in skipped if LOUD in str(each.longrepr)}
    for reason in sorted(reasons):
        terminalreporter.write_line(f"WARNING: {reason}", red=True, bold=True)
