"""The time of a process is the database's, whatever clock its host has."""

import os
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection

from tests.support.python_process import run_python
from transcribe_platform import database_clock

HOUR = timedelta(hours=1)
FOLLOW = """
import {entry}
import django
django.setup()
from django.utils import timezone
from jobs.models import Tenant
from tests.support.python_process import run_python
from transcribe_platform import database_clock
assert timezone.now is database_clock.now
assert Tenant._meta.get_field("created_at").default is database_clock.now
"""


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_host_clock_that_jumps_changes_nothing(db, monkeypatch, jump):
    monkeypatch.setattr(database_clock, "_anchor", None)
    true = datetime.now(UTC)

    with time_machine.travel(true + jump, tick=True):
        before = database_clock.now() - true
        database_clock._read(connection)
        after = database_clock.now() - true

    assert abs(before - jump) < timedelta(seconds=30)
    assert abs(after) < timedelta(seconds=30)


def test_the_database_is_asked_once_a_minute(
    db, monkeypatch, django_assert_num_queries
):
    monkeypatch.setattr(database_clock, "_anchor", None)

    with django_assert_num_queries(1):
        database_clock._read(connection)
        database_clock._read(connection)
    monkeypatch.setattr(database_clock, "REFRESH_SECONDS", 0.0)
    with django_assert_num_queries(1):
        database_clock._read(connection)


@pytest.mark.parametrize("entry", ["asgi", "celery"])
def test_each_process_follows_it(entry):
    text = FOLLOW.format(entry=f"transcribe_platform.{entry}")

    ended = run_python(("-c", text), environment=os.environ)

    assert ended.returncode == 0, ended.stderr
