"""Valkey or Redis: writes the configuration, and returns the command to start it."""

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
    """Write the configuration and return the server program.

    Waits for the server of an earlier run to end; raises EmbeddedError if it does not.
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
        ready=lambda: _responds(url),
    )


def _configuration(store: Path, port: int, password: str, *, durable: bool) -> str:
    """Return the configuration file; command line arguments are public."""
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        "databases 64",
        f'dir "{store}"',
        f'pidfile "{store / "valkey.pid"}"',
        f"requirepass {password}",
        "maxmemory-policy noeviction",  # a broker must not evict keys
        'save ""',
        f"appendonly {'yes' if durable else 'no'}",
    )
    return "\n".join(lines) + "\n"


def _responds(url: str) -> bool:
    with suppress(redis.RedisError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False
