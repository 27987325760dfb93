import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from psycopg import conninfo

from tests.support import ROOT
from tests.support.factories import make_key, make_tenant
from tests.support.sse import Stream
from workers.embedded.probes import http_answers
from workers.embedded.processes import free_port, log_tail, wait_until


class Door:
    """A real ASGI process on the test's database."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.name = f"door-{self.port}"  # how the database knows it
        self.log = folder / f"granian-{self.port}.log"
        url = address_of(connection.settings_dict["NAME"])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                (
                    *(sys.executable, "-m", "granian", "--interface", "asgi"),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                    "transcribe_platform.asgi:application",
                ),
                cwd=ROOT,
                env={
                    **os.environ,
                    "DATABASE_URL": url,
                    "PGAPPNAME": self.name,
                    **settings,
                },
                stdout=log,
                stderr=log,
            )

    def wait(self) -> "Door":
        url = f"http://127.0.0.1:{self.port}/health/live"
        assert wait_until(lambda: http_answers(url), seconds=60), log_tail(self.log)
        return self

    def stop(self) -> int:
        """End it in order, and wait until the database has seen it go."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        finally:
            self.process.kill()
            self.process.wait()
        assert wait_until(self.is_gone, seconds=10)
        return self.process.returncode

    def is_gone(self) -> bool:
        """Tell whether the database has no connection of it any more."""
        asked = "SELECT FROM pg_stat_activity WHERE application_name = %s"
        with maintenance() as admin:
            return admin.execute(asked, [self.name]).fetchone() is None


def maintenance() -> psycopg.Connection[Any]:
    """Connect beside the test's database."""
    return psycopg.connect(address_of("postgres"), autocommit=True)


def address_of(database: str) -> str:
    settings = connection.settings_dict
    given = {
        name: str(settings[name.upper()])
        for name in ("user", "password", "host", "port")
        if settings[name.upper()]
    }
    return conninfo.make_conninfo(**given, dbname=database)


class Follower:
    """A customer with a key, at a door; what it opens is closed after the test."""

    def __init__(self, door: Any) -> None:
        self.door = door
        self.tenant = make_tenant()
        self.key, self.text = make_key(self.tenant)
        self.opened: list[Stream] = []

    def other(self) -> "Follower":
        """Return another customer, at the same door."""
        them = Follower(self.door)
        them.opened = self.opened
        return them

    def follow(
        self, path: str = "/v1/events", *, last: str = "", method: str = "GET"
    ) -> Stream:
        headers = {"Last-Event-ID": last} if last else {}
        port = self.door.port
        stream = Stream(port, path, key=self.text, headers=headers, method=method)
        self.opened.append(stream)
        return stream

    def get(self, path: str) -> Any:
        """Ask over WSGI."""
        headers = {"Authorization": f"Bearer {self.text}"}
        return Client().get(path, headers=headers)


@pytest.fixture(scope="session")
def door(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[Door]:
    started = Door(
        tmp_path_factory.mktemp("events"),
        EVENT_STREAM_HEARTBEAT_SECONDS="0.5",
        EVENT_STREAMS_MAX="6",
        DB_POOL_SIZE="2",  # a stream holds none
        EVENT_STREAMS_MAX_PER_TENANT="4",
        EVENT_STREAM_SECONDS="20",
    )
    try:
        yield started.wait()
    finally:
        started.stop()


@pytest.fixture
def me(transactional_db: None, door: Door) -> Iterator[Follower]:
    follower = Follower(door)
    yield follower
    for stream in follower.opened:
        stream.close()
