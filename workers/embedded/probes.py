"""Readiness checks of processes; they return False instead of raising."""

import base64
import json
import socket
import time
import urllib.request
from contextlib import suppress
from urllib.error import HTTPError

import psycopg

TIMEOUT_SECONDS = 2.0
FLOWER_ATTEMPTS, CELERY_WORKERS = 10, 2
# No proxy for loopback addresses.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http_answers(url: str) -> bool:
    """Return whether an HTTP server responds with a status below 500."""
    try:
        _opener.open(url, timeout=TIMEOUT_SECONDS).close()
    except HTTPError as error:
        with error:
            return error.code < 500  # noqa: PLR2004
    except OSError:
        return False
    return True


def refresh_flower(url: str, login: str) -> None:
    """Make Flower refresh its list of workers, which start after it."""
    credentials = base64.b64encode(login.encode()).decode()
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{url}/api/workers?refresh=1",
        headers={"authorization": f"Basic {credentials}"},
    )
    for _ in range(FLOWER_ATTEMPTS):
        with suppress(OSError), _opener.open(request, timeout=10) as response:
            if len(json.load(response)) == CELERY_WORKERS:
                return
        time.sleep(1)


def has_connected(database_url: str, name: str) -> bool:
    """Return whether the application `name` has a database connection."""
    return _has_row(
        database_url,
        "SELECT FROM pg_stat_activity WHERE application_name = %s",
        name,
    )


def has_heartbeat(database_url: str, pid: int) -> bool:
    """Return whether a worker process of this host has sent a heartbeat."""
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
