"""PostgreSQL: creates the cluster once, and returns the command to start it."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from signal import Signals

import psycopg

from workers.embedded import binaries, folders, processes
from workers.embedded.processes import (
    Account,
    EmbeddedError,
    ProcessCommand,
    ServerProgram,
)

DATABASE = "transcribe"
BUILTIN_LOCALES_SINCE = 17
NOT_DURABLE = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


def prepare(
    data_dir: Path,
    *,
    durable: bool,
    port: int | None = None,
    log: Path | None = None,
    programs: Path | None = None,
) -> ServerProgram:
    """Create the cluster if needed and return the server program.

    Waits for the server of an earlier run to end. Raises EmbeddedError if it does not,
    or if another major version created the cluster.
    """
    programs = programs or binaries.find_postgres()
    account = processes.server_account()
    home = folders.home(data_dir, account, durable=durable)
    log = log or home / "postgres.log"
    cluster = home / "cluster"
    password = folders.password(home)
    if cluster.exists():
        _check_version(cluster, programs)
        folders.wait_for_previous(cluster / "postmaster.pid", cluster)
    else:
        _create_cluster(cluster, programs, password, log, durable=durable)
    port = port or processes.free_port()
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/{DATABASE}"
    return ServerProgram(
        name="PostgreSQL",
        url=url,
        port=port,
        command=ProcessCommand(
            argv=(
                *(str(programs / "postgres"), "-D", str(cluster)),
                *_options(port, durable=durable),
            ),
            log=log,
            env=processes.server_environment(),
            account=account,
            stop_signal=Signals.SIGINT,  # fast shutdown: rolls back open transactions
            death_signal=Signals.SIGINT,
        ),
        ready=lambda: _accepts_connections(url),
    )


def _options(port: int, *, durable: bool) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # Errors must not log the rows and values of their statements.
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        **({} if durable else NOT_DURABLE),
    }
    return [word for pair in settings.items() for word in ("-c", "=".join(pair))]


def _accepts_connections(url: str) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False


def _create_cluster(
    cluster: Path, programs: Path, password: str, log: Path, *, durable: bool
) -> None:
    """Create a cluster under a temporary name, so that a partial one is never used."""
    account = processes.server_account()
    partial = cluster.with_name("cluster.partial")
    shutil.rmtree(partial, ignore_errors=True)
    folders.own(partial, account)
    locale: tuple[str, ...] = ("--locale=C.UTF-8",)
    if binaries.postgres_major(programs) >= BUILTIN_LOCALES_SINCE:
        # Built in: needs no system locale, whose upgrade could corrupt indexes.
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    initdb = (
        *(str(programs / "initdb"), "-D", str(partial), "-U", "postgres"),
        *("--auth-local=reject", "--auth-host=scram-sha-256", "--encoding=UTF8"),
        *(*locale, *(() if durable else ("--no-sync",))),
    )
    _run(initdb, account, log, stdin="")
    single = (
        *(str(programs / "postgres"), "--single", "-D", str(partial)),
        *(*(() if durable else ("-F",)), "postgres"),
    )
    statements = (
        f"ALTER USER postgres PASSWORD '{password}'",
        f"CREATE DATABASE {DATABASE}",
    )
    _run(single, account, log, stdin="\n".join(statements) + "\n")
    partial.rename(cluster)


def _run(argv: tuple[str, ...], account: Account | None, log: Path, stdin: str) -> None:
    """Run a program as the server account; raises EmbeddedError if it fails."""
    with processes.open_log(log) as output:
        completed = subprocess.run(  # noqa: S603  (fixed argv, no shell)
            argv,
            input=stdin.encode(),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=processes.server_environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,  # Ctrl-C in the terminal must not interrupt it
            cwd="/",  # the account may lack access to the current folder
            check=False,
        )
    if completed.returncode:
        end = processes.log_tail(log)
        raise EmbeddedError(f"{argv[0]} failed. The end of {log}:\n{end}")


def _check_version(cluster: Path, programs: Path) -> None:
    written = int((cluster / "PG_VERSION").read_text().strip())
    found = binaries.postgres_major(programs)
    if written != found:
        raise EmbeddedError(
            f"{cluster} was created by PostgreSQL {written}, but PostgreSQL {found} "
            f"is installed. Move the folder away, or dump and restore it."
        )
