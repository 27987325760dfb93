"""Ask a process whether it answers; False when it does not, never an exception."""

import base64
import json
import socket
import time
import urllib.request
from contextlib import suppress
from urllib.error import HTTPError

import psycopg

TIMEOUT_SECONDS = 2.0
FLOWER_LOOKS, CELERY_WORKERS = 10, 2
# Loopback is never behind the proxy that the environment may name.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http_answers(url: str) -> bool:
    """Tell whether an HTTP server answers; a refusal (4xx) is an answer."""
    try:
        _opener.open(url, timeout=TIMEOUT_SECONDS).close()
    except HTTPError as error:
        with error:
            return error.code < 500  # noqa: PLR2004
    except OSError:
        return False
    return True


def have_flower_look(url: str, login: str) -> None:
    """Have Flower ask the workers for their queues: it did before they were there."""
    words = base64.b64encode(login.encode()).decode()
    request = urllib.request.Request(  # noqa: S310  our own address
        f"{url}/api/workers?refresh=1", headers={"authorization": f"Basic {words}"}
    )
    for _ in range(FLOWER_LOOKS):
        with suppress(OSError), _opener.open(request, timeout=10) as answer:
            if len(json.load(answer)) == CELERY_WORKERS:
                return
        time.sleep(1)


def has_connected(database_url: str, name: str) -> bool:
    """Tell whether a process that calls itself `name` has a database connection."""
    return _has_row(
        database_url,
        "SELECT FROM pg_stat_activity WHERE application_name = %s",
        name,
    )


def has_beaten(database_url: str, pid: int) -> bool:
    """Tell whether a worker process of this host has announced itself."""
    return _has_row(
        database_url,
        "SELECT FROM jobs_worker WHERE starts_with(name, %s)",
        f"{socket.gethostname()}.{pid}.",
    )


def _has_row(database_url: str, query: str, value: str) -> bool:
    with (
        suppress(psycopg.Error),
        psycopg.connect(database_url, connect_timeout=2) as connection,
    ):
        return connection.execute(query.encode(), (value,)).fetchone() is not None
    return False
