"""Prepared statements, for those that every request or job executes.

Django builds the SQL of each query anew and binds its parameters on the client, so
PostgreSQL parses and plans it anew too. Here both happen once per connection. Through a
connection pooler that does not support prepared statements, one session would execute
those of another: there they are not prepared.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache, partial
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS, connection, connections, models

AnyModel = TypeVar("AnyModel", bound=models.Model)
Row = tuple[Any, ...]
# A statement and its parameters.
Statement = tuple[str, Sequence[Any] | Mapping[str, Any]]

# As often a statement is executed before it is prepared; None: not yet decided.
_PREPARED, _UNPREPARED = 1, 2**31
_PARAMETER = re.compile(r"\$\d+")
_NAMED = re.compile(r"%\((\w+)\)s")


def fetch(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
    """Execute a statement and return its rows, if it returns any.

    Its parameters are $1 and so on, or %(name)s for a mapping. Raises Django's database
    errors.
    """
    return fetch_many([(sql, parameters)])[0]


def fetch_many(statements: Sequence[Statement]) -> list[list[Row]]:
    """Execute statements that do not depend on each other's rows; return all rows.

    They take one round trip, with the BEGIN of a transaction if they are its first.
    https://www.psycopg.org/psycopg3/docs/advanced/pipeline.html
    """
    django_connection = connections[DEFAULT_DB_ALIAS]
    if django_connection.queries_logged:
        return [_fetch_logged(*statement) for statement in statements]
    django_connection.ensure_connection()
    raw = django_connection.connection
    with django_connection.wrap_database_errors:
        if raw.prepare_threshold is None:
            raw.prepare_threshold = _choose_threshold(raw)
        try:
            with raw.pipeline() if len(statements) > 1 else nullcontext():
                cursors = [_execute(raw, *statement) for statement in statements]
            # ``description`` would build an object for each column.
            return [
                each.fetchall() if each.pgresult.nfields else [] for each in cursors
            ]
        except psycopg.NotSupportedError as error:
            # A migration changed a column's type: "cached plan must not change result
            # type", at every execution on this connection.
            raw.close()
            django_connection.close()
            raise psycopg.OperationalError(str(error)) from error


def _execute(raw: Any, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Any:
    if isinstance(parameters, Mapping):
        sql, names = _number(sql)
        parameters = [parameters[name] for name in names]
    # Unlike ``Cursor`` it does not parse the statement each time.
    cursor: Any = psycopg.RawCursor(raw)
    return cursor.execute(sql, parameters)


def _fetch_logged(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[Row]:
    """Execute a statement by Django's own cursor, which logs it for tests."""
    with connection.cursor() as cursor:
        cursor.execute(_PARAMETER.sub("%s", sql), parameters)
        return cursor.fetchall() if cursor.description else []


@cache
def _number(sql: str) -> tuple[str, list[str]]:
    """Return the statement with numbered parameters, and their names in order."""
    names = list(dict.fromkeys(_NAMED.findall(sql)))
    return _NAMED.sub(lambda name: f"${names.index(name[1]) + 1}", sql), names


def insert(*rows: models.Model) -> None:
    """Insert rows with one statement, which is atomic without a transaction.

    Unlike ``Model.save`` it sets no generated values and sends no signals.
    """
    fetch(*build_insertion(*([row] for row in rows)))


def build_insertion(
    *groups: Sequence[models.Model], lenient: Sequence[models.Model] = ()
) -> Statement:
    """Return the statement of ``insert`` for groups of rows, each of one table.

    It is the same for any number of rows in a group. Those of ``lenient`` that conflict
    with existing rows are skipped.
    """
    groups = tuple(group for group in (*groups, lenient) if group)
    tables = tuple(type(group[0]) for group in groups)
    sql = _build_insert(tables, is_lenient=bool(lenient))
    return sql, [_encode_models(group) for group in groups]


def _encode_models(rows: Sequence[models.Model]) -> str:
    cells = _cells(type(rows[0]))
    values = [
        {column: encode(getattr(row, name)) for name, column, encode in cells}
        for row in rows
    ]
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS  # noqa: SLF001
    return json.dumps(values, cls=DjangoJSONEncoder)


def encode_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows for ``json_to_recordset``: one parameter, whatever their number.

    It takes less time than an array of each column.
    """
    return json.dumps(rows, default=_encode)


@cache
def _cells(
    model: type[models.Model],
) -> list[tuple[str, str, Callable[[Any], Any]]]:
    return [
        (
            field.attname,
            str(field.column),
            _keep if isinstance(field, models.JSONField) else _encode,
        )
        for field in _inserted(model)
    ]


def _keep(value: Any) -> Any:
    return value


def select(model: type[models.Model], condition: str) -> str:
    """Return the SELECT of the rows that meet a condition, for ``load``."""
    table = model._meta.db_table  # noqa: SLF001
    return f'SELECT {list_columns(model)} FROM "{table}" WHERE {condition}'  # noqa: S608


@cache
def list_columns(model: type[models.Model]) -> str:
    """Return the columns of a SELECT from which ``load`` builds rows."""
    table = model._meta.db_table  # noqa: SLF001  a documented API
    return ", ".join(f'"{table}"."{each.column}"' for each in _fields(model))


def load_all(model: type[AnyModel], rows: Sequence[Row]) -> list[AnyModel]:
    """Return the objects of rows, as ``load`` does."""
    return [load(model, row) for row in rows]


def load(model: type[AnyModel], values: Sequence[Any]) -> AnyModel:
    """Return the object of a row's values, in the order of ``list_columns``."""
    converted = list(values)
    for index, convert in _converters(model):
        converted[index] = convert(converted[index])
    return model.from_db(DEFAULT_DB_ALIAS, _attribute_names(model), converted)


def _choose_threshold(raw: psycopg.Connection[Any]) -> int:
    """Return ``_UNPREPARED`` behind a pooler, unless the settings allow it.

    A pooler announces a process id of its own at the start of a session.
    """
    if settings.DB_POOLER_PREPARES:
        return _PREPARED
    ((server_pid,),) = raw.execute("SELECT pg_backend_pid()").fetchall()
    return _PREPARED if raw.info.backend_pid == server_pid else _UNPREPARED


@cache
def _fields(model: type[models.Model]) -> "tuple[models.Field[Any, Any], ...]":
    return tuple(model._meta.concrete_fields)  # noqa: SLF001  a documented API


@cache
def _attribute_names(model: type[models.Model]) -> list[str]:
    return [field.attname for field in _fields(model)]


@cache
def _converters(model: type[models.Model]) -> list[tuple[int, Callable[[Any], Any]]]:
    """Return the fields whose values Django converts, by position."""
    return [
        (index, partial(_convert, field))
        for index, field in enumerate(_fields(model))
        if hasattr(field, "from_db_value")
    ]


def _convert(field: Any, value: Any) -> Any:
    return field.from_db_value(value, None, connection)


@cache
def _build_insert(tables: tuple[type[models.Model], ...], *, is_lenient: bool) -> str:
    *others, last = (
        _build_one_insert(model, number) for number, model in enumerate(tables, start=1)
    )
    if is_lenient:
        last += " ON CONFLICT DO NOTHING"
    if not others:
        return last
    named = (f"row_{number} AS ({sql})" for number, sql in enumerate(others))
    return f"WITH {', '.join(named)} {last}"


def _build_one_insert(model: type[models.Model], number: int) -> str:
    columns = ", ".join(f'"{field.column}"' for field in _inserted(model))
    table = model._meta.db_table  # noqa: SLF001
    return (
        f'INSERT INTO "{table}" ({columns}) SELECT {columns}'  # noqa: S608
        f' FROM json_populate_recordset(NULL::"{table}", ${number}::json)'
    )


def _inserted(model: type[models.Model]) -> "list[models.Field[Any, Any]]":
    """Return the fields without those that the database generates."""
    return [
        field
        for field in _fields(model)
        if not (isinstance(field, models.AutoField) or field.generated)
    ]


def _encode(value: Any) -> str | None:
    """Return the value as text, whose type PostgreSQL takes from the column."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if hasattr(value, "resolve_expression"):
        raise TypeError("an expression cannot be a parameter")
    return str(value)
