"""A migration that changes a column's type costs a connection one error."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import OperationalError, connection

from jobs.models import prepared_statements


@pytest.fixture
def migration(transactional_db: None) -> Iterator[psycopg.Connection]:
    """The session of a migration, and a table that it changes."""
    connection.ensure_connection()
    info = connection.connection.info
    with psycopg.connect(info.dsn, password=info.password, autocommit=True) as session:
        session.execute("CREATE TABLE changing (number int)")
        session.execute("INSERT INTO changing VALUES (1)")
        yield session
        session.execute("DROP TABLE changing")
    session.close()


def test_a_prepared_statement_survives_the_change_of_a_type(migration):
    def read() -> list[tuple[int]]:
        return prepared_statements.fetch("SELECT number FROM changing")

    for _ in range(3):  # the second execution prepares it
        assert read() == [(1,)]
    migration.execute("ALTER TABLE changing ALTER number TYPE bigint")

    with pytest.raises(OperationalError, match="cached plan"):
        read()

    assert read() == [(1,)]
