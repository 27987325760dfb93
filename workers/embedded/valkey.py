"""Valkey or Redis: write the configuration and say how to start it."""

from contextlib import suppress
from pathlib import Path
from signal import Signals

import redis

from workers.embedded import binaries, folders, processes
from workers.embedded.processes import ProcessCommand, ServerProgram


def prepare(
    data_dir: Path,
    *,
    durable: bool,
    port: int | None = None,
    log: Path | None = None,
    program: Path | None = None,
) -> ServerProgram:
    """Write the configuration and return what starts the server.

    Waits for a server of an earlier run that still uses the folder; raises
    EmbeddedError when it stays.
    """
    program = program or binaries.find_redis()
    account = processes.server_account()
    home = folders.home(data_dir, account, durable=durable)
    store = home / "store"
    folders.own(store, account)
    folders.wait_for_previous(store / "valkey.pid", store)
    port = port or processes.free_port()
    password = folders.password(home)
    config = store / "valkey.conf"
    text = _configuration(store, port, password, durable=durable)
    folders.write_private(config, text, account)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return ServerProgram(
        name="Valkey",
        url=url,
        port=port,
        command=ProcessCommand(
            argv=(str(program), str(config)),
            log=log or home / "valkey.log",
            env=processes.server_environment(),
            account=account,
            death_signal=Signals.SIGTERM if durable else Signals.SIGKILL,
        ),
        ready=lambda: _answers(url),
    )


def _configuration(store: Path, port: int, password: str, *, durable: bool) -> str:
    """Return the configuration; in a file, since every user sees a command line."""
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        "databases 64",
        f'dir "{store}"',
        f'pidfile "{store / "valkey.pid"}"',
        f"requirepass {password}",
        "maxmemory-policy noeviction",  # a broker may refuse, never forget
        'save ""',
        f"appendonly {'yes' if durable else 'no'}",
    )
    return "\n".join(lines) + "\n"


def _answers(url: str) -> bool:
    with suppress(redis.RedisError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False
