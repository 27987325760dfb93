"""The time of a process is the database's, whatever clock its host has."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.conf import settings
from django.db import connection

from transcribe_platform import database_clock

HOUR = timedelta(hours=1)
FOLLOW = """
import {entry}
import django
django.setup()
from django.utils import timezone
from jobs.models import Tenant
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


@pytest.mark.parametrize("entry", ["wsgi", "asgi", "celery"])
def test_each_process_follows_it(entry):
    subprocess.run(
        [sys.executable, "-c", FOLLOW.format(entry=f"transcribe_platform.{entry}")],
        env=os.environ,
        cwd=settings.BASE_DIR,
        check=True,
        timeout=60,
    )
