"""PostgreSQL: make a cluster once, and say how to start it."""

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
    """Make the cluster if there is none, and return what starts it.

    Waits for a server of an earlier run that still uses the folder; raises
    EmbeddedError when it stays, or when another major version made the cluster.
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
        _make_cluster(cluster, programs, password, log, durable=durable)
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
            stop_signal=Signals.SIGINT,  # "fast": roll back what is open, then end
            death_signal=Signals.SIGINT,
        ),
        ready=lambda: _answers(url),
    )


def _options(port: int, *, durable: bool) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # An error must not put the rows and values of its statement into the log.
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        **({} if durable else NOT_DURABLE),
    }
    return [word for pair in settings.items() for word in ("-c", "=".join(pair))]


def _answers(url: str) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False


def _make_cluster(
    cluster: Path, programs: Path, password: str, log: Path, *, durable: bool
) -> None:
    """Make a cluster under a passing name: a torn one is never taken for whole."""
    account = processes.server_account()
    partial = cluster.with_name("cluster.partial")
    shutil.rmtree(partial, ignore_errors=True)
    folders.own(partial, account)
    locale: tuple[str, ...] = ("--locale=C.UTF-8",)
    if binaries.postgres_major(programs) >= BUILTIN_LOCALES_SINCE:
        # Its own, so the machine needs none and an upgrade of it changes no index.
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
    """Run a short program as the servers' account; raise EmbeddedError if it fails."""
    with processes.open_log(log) as output:
        done = subprocess.run(  # noqa: S603  (argv is ours, no shell)
            argv,
            input=stdin.encode(),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=processes.server_environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,  # the terminal's Ctrl-C must not tear it
            cwd="/",  # initdb looks at its own folder, which may be closed to it
            check=False,
        )
    if done.returncode:
        end = processes.log_tail(log)
        raise EmbeddedError(f"{argv[0]} failed. The end of {log}:\n{end}")


def _check_version(cluster: Path, programs: Path) -> None:
    written = int((cluster / "PG_VERSION").read_text().strip())
    found = binaries.postgres_major(programs)
    if written != found:
        raise EmbeddedError(
            f"{cluster} was made by PostgreSQL {written}, but {found} is what is "
            f"installed here. Move the folder away, or dump and load it."
        )
