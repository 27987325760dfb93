"""The table of outages: how each is produced, and what must be seen of it.

docs/health.md shows it (`tests/contract/test_outage_table.py` compares).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import httpx
import psutil

from tests.outages import stand as stands
from tests.outages.stand import NO_RESPONSE, Stand
from workers.embedded.plan import REGION

LONG = 3600.0
HOUR = 3600
_OPEN = 'deepgram_breaker_state{region="local",state="open"}'
_IS_PAUSED = 'transcription_region_state{region="local",state="paused"}'
_COOLING = 'transcription_region_state{region="local",state="cooling down"}'

Produce = Callable[[Stand], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One row: an outage, and what differs from a platform that is well."""

    name: str
    produce: Produce
    # /health: its status, and the parts that are not ok.
    status: str = "ok"
    parts: Mapping[str, str] = field(default_factory=dict)
    # /health/ready: its code, and the checks that are not ok.
    ready: int = 200
    checks: Mapping[str, str] = field(default_factory=dict)
    # One sample, None if it is missing.
    metric: tuple[str, float | None]
    alerts: frozenset[str] = frozenset()
    # What the operators' overview says, in part.
    page: tuple[str, ...] = ()
    # What becomes of a job that is submitted meanwhile: why it waits, or its status;
    # "" if it is not accepted.
    job: str = "delivered"
    # Prometheus sees it for so many minutes.
    minutes: int = 12
    needs: str = ""  # "mount" or "clock"


# --- processes


@contextmanager
def killed(name: str, stand: Stand) -> Iterator[None]:
    """Kill -9 a process and keep it away."""
    stand.platform.kill(name, away_seconds=LONG)
    yield
    stand.platform.child(name).due_at = 0.0
    stand.platform.wait_whole()


@contextmanager
def frozen(name: str, stand: Stand) -> Iterator[None]:
    """Stop a process and all below it, as a machine that hangs does."""
    members = _family(stand, name)
    for process in members:
        process.suspend()
    try:
        yield
    finally:
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def _family(stand: Stand, name: str) -> list[psutil.Process]:
    process = psutil.Process(stand.platform.child(name).process.pid)
    return [process, *process.children(recursive=True)]


@contextmanager
def started_with(name: str, words: tuple[str, ...], stand: Stand) -> Iterator[None]:
    """Restart a process with more words at the end of its command."""
    child = stand.platform.child(name)
    before = child.program
    command = replace(before.command, argv=(*before.command.argv, *words))
    for program in (replace(before, command=command), before):
        child.program = program
        stand.platform.kill(name)
        stand.platform.wait_whole()
        if program is not before:
            yield


@contextmanager
def clock_moved(name: str, seconds: int, stand: Stand) -> Iterator[None]:
    """Move the wall clock of a running process; those of others stay right."""
    folder = stand.platform.plan.options.data_dir
    stands.set_clock(folder, name, seconds)
    began = time.monotonic()
    # Longer than any heartbeat, lease and cache.
    stand.wait(
        lambda: time.monotonic() > began + 12, seconds=60, what="the clock moved"
    )
    yield
    stands.set_clock(folder, name, 0)


# --- PostgreSQL


@contextmanager
def read_only(stand: Stand) -> Iterator[None]:
    """Let the server take no writes, as a demoted primary or one with a full disk."""
    name = "default_transaction_read_only"
    stand.run(f"ALTER SYSTEM SET {name} = on", "SELECT pg_reload_conf()")
    yield
    stand.run(f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()")


@contextmanager
def login_refused(stand: Stand) -> Iterator[None]:
    """Let the platform's role no longer log in, and end its connections."""
    other = {"user": "other", "password": "other"}
    stand.run("CREATE ROLE other SUPERUSER LOGIN PASSWORD 'other'")
    stand.run(
        "ALTER ROLE postgres NOLOGIN",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'postgres'",
        **other,
    )
    yield
    stand.run("ALTER ROLE postgres LOGIN", **other)
    stand.run("DROP ROLE other")


@contextmanager
def not_migrated(stand: Stand) -> Iterator[None]:
    """Start the web process on a database that lacks a migration."""
    ((name,),) = stand.run(
        "DELETE FROM django_migrations WHERE app = 'jobs' AND name ="
        " (SELECT max(name) FROM django_migrations WHERE app = 'jobs') RETURNING name"
    )
    stand.platform.kill("web")
    stand.wait(lambda: stand.observe().ready == 503, seconds=60, what="web is back")
    yield
    stand.run(
        "INSERT INTO django_migrations (app, name, applied)"
        f" VALUES ('jobs', '{name}', now())"
    )


@contextmanager
def jobs_locked(stand: Stand) -> Iterator[None]:
    """Lock the table of jobs, as a forgotten transaction does."""
    with stand.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE jobs_job IN ACCESS EXCLUSIVE MODE")
        yield


# --- Redis


@contextmanager
def redis_configured(values: Mapping[str, str], stand: Stand) -> Iterator[None]:
    """Set values of the server and end all other connections."""
    with stand.platform.broker() as client:
        before = {name: client.config_get(name)[name] for name in values}
        for name, value in values.items():
            client.config_set(name, value)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        yield
        for name, value in before.items():
            client.config_set(name, value)


@contextmanager
def redis_replica(stand: Stand) -> Iterator[None]:
    """Make the server a replica of one that is not there."""
    with stand.platform.broker() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        client.execute_command("REPLICAOF", "NO", "ONE")


# --- storage


def _media(stand: Stand) -> Path:
    return Path(stand.platform.plan.environment["MEDIA_ROOT"])


@contextmanager
def media_full(stand: Stand) -> Iterator[None]:
    """Fill the file system of the media."""
    filler = _media(stand) / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


@contextmanager
def media_read_only(stand: Stand) -> Iterator[None]:
    """Remount the file system of the media read-only, as after a disk error."""
    stands.remount(_media(stand), "ro")
    yield
    stands.remount(_media(stand), "rw")


@contextmanager
def folder_lost(name: str, stand: Stand) -> Iterator[None]:
    """Put a file in the place of a folder."""
    folder = _media(stand) / name
    folder.mkdir(parents=True, exist_ok=True)
    away = folder.with_name(f"{name}.away")
    folder.rename(away)
    folder.touch()
    yield
    folder.unlink()
    away.rename(folder)


# --- upstream


@contextmanager
def refused_calls(number: int, metric: str, stand: Stand) -> Iterator[None]:
    """Submit jobs and wait until their calls have had an effect; cancel them later."""
    jobs = [stand.submit() for _ in range(number)]
    stand.wait(lambda: stand.scrape().find(metric) == 1, seconds=60, what=metric)
    yield
    stand.cancel(jobs)


@contextmanager
def upstream_faults(
    rule: Mapping[str, object], number: int, metric: str, stand: Stand
) -> Iterator[None]:
    """Let calls fail, and make some."""
    url = f"{stand.platform.plan.emulator}/__emu__/faults"
    httpx.post(url, json={"rules": [rule]}, trust_env=False).raise_for_status()
    with refused_calls(number, metric, stand):
        yield
        httpx.delete(url, trust_env=False).raise_for_status()
    stand.manage("regions", "resume", REGION)


@contextmanager
def upstream_killed(stand: Stand) -> Iterator[None]:
    """Kill the upstream, and make calls."""
    with killed("emulator", stand), refused_calls(12, _OPEN, stand):
        yield


@contextmanager
def upstream_key_changed(stand: Stand) -> Iterator[None]:
    """Let the upstream know another key alone."""
    words = ("--keys", "another")
    with (
        started_with("emulator", words, stand),
        refused_calls(1, _IS_PAUSED, stand),
    ):
        yield
    stand.manage("regions", "resume", REGION)


@contextmanager
def calls_take_long(stand: Stand) -> Iterator[None]:
    """Let calls last, and make more of them than the region may have at once."""
    url = f"{stand.platform.plan.emulator}/__emu__/faults"
    slow = {"config": {"latency_base": 600.0}}
    httpx.post(url, json=slow, trust_env=False).raise_for_status()
    jobs = [stand.submit() for _ in range(12)]
    yield
    stand.platform.kill("emulator")
    stand.platform.wait_whole()
    stand.wait_ended(jobs)


# --- operators


@contextmanager
def region_changed(on: str, off: str, stand: Stand) -> Iterator[None]:
    """Change the region as an operator does."""
    stand.manage("regions", on, REGION)
    yield
    stand.manage("regions", off, REGION)


@contextmanager
def region_without_workers(stand: Stand) -> Iterator[None]:
    """Open a region that no worker serves."""
    words = ("--base-url", stand.platform.plan.emulator)
    stand.manage("regions", "add", "other", *words)
    yield
    stand.run("DELETE FROM jobs_region WHERE name = 'other'")


@contextmanager
def region_drained_beside_another(stand: Stand) -> Iterator[None]:
    """Drain a region that no job needs."""
    with region_without_workers(stand):
        stand.manage("regions", "drain", "other")
        yield


@contextmanager
def tenant_paused(stand: Stand) -> Iterator[None]:
    """Pause the tenant, with a job that waits."""
    ((name,),) = stand.run("SELECT name FROM jobs_tenant")
    stand.manage("tenants", "pause", name)
    stand.submit()
    yield
    stand.manage("tenants", "resume", name)


@contextmanager
def batch_held(stand: Stand) -> Iterator[None]:
    """Pause a batch whose jobs wait: none starts while its tenant is paused."""
    with tenant_paused(stand):
        item = {"audio_url": stand.platform.inbox.audio_url}
        key = {"authorization": f"Bearer {stand.platform.api_key}"}
        made = stand.operator.post("/v1/batches", json={"items": [item]}, headers=key)
        path = f"/v1/batches/{made.json()['id']}"
        stand.operator.post(f"{path}/pause", headers=key).raise_for_status()
    yield
    stand.operator.post(f"{path}/resume", headers=key).raise_for_status()


@contextmanager
def nothing(_stand: Stand) -> Iterator[None]:
    """Change nothing."""
    yield


# --- the table

_DOWN = {"status": "down", "ready": 503, "job": "", "page": (NO_RESPONSE,)}
_GONE = {"status": NO_RESPONSE, "ready": 0, "job": "", "page": (NO_RESPONSE,)}
_NO_DATABASE = {
    **_DOWN,
    "parts": {"database": "away"},
    "checks": {"database": "away", "regions": "unknown"},
    "metric": ("transcription_database_up", 0),
    "alerts": frozenset({"DatabaseAway"}),
}
_NO_REDIS = {
    "status": "degraded",
    "parts": {"redis": "away", "regions": "away"},
    "checks": {"redis": "away"},
    "metric": ('transcription_redis_up{region="local"}', 0),
    "alerts": frozenset({"RedisAway"}),
    "page": ("Redis: does not respond",),
    "job": "in_queue",
}
_FULL_REDIS = {
    "status": "degraded",
    "parts": {"redis": "degraded"},
    "checks": {"redis": "full"},
    "metric": ('transcription_redis_writable{region="local"}', 0),
    "alerts": frozenset({"RedisFull"}),
    "page": ("rejects writes",),
    "job": "in_queue",
}
_NO_STORAGE = {
    "status": "degraded",
    "parts": {"storage": "away"},
    "metric": ('transcription_storage_up{process="worker"}', 0),
    "alerts": frozenset({"StorageAway"}),
    "page": ("stores nothing",),
    "job": "processing",  # paid for, and stored later
}
_NO_WORKER = {
    "status": "degraded",
    "parts": {"workers": "away"},
    "metric": ('transcription_workers{queue="transcribe.local"}', 0),
    "page": ("Workers: none is alive",),
    "job": "no_worker",
}
_NO_WEBHOOKS = {
    "status": "degraded",
    "parts": {"webhooks": "away"},
    "metric": ('transcription_workers{queue="webhooks"}', 0),
    "page": ("Webhooks: none is alive",),
    "job": "completed",
}
_PAUSED = {
    "status": "degraded",
    "parts": {"regions": "away"},
    "metric": (_IS_PAUSED, 1),
    "alerts": frozenset({"RegionPaused"}),
    "page": ("is paused",),
    "job": "region_closed",
}
_BREAKER = {
    "status": "degraded",
    "parts": {"regions": "away"},
    "metric": (_OPEN, 1),
    "alerts": frozenset({"RegionBreakerOpen"}),
    "page": ("circuit breaker",),
    "job": "in_queue",
}
_CLOSED = {
    "status": "degraded",
    "parts": {"regions": "away", "queue": "degraded"},
    "checks": {"regions": "none"},
    "metric": ("transcription_queue_closed", 1),
    "alerts": frozenset({"JobsWithoutRegion"}),
    "job": "region_closed",
}
_WELL = {"metric": ("transcription_database_up", 1)}


def _of_processes() -> Iterator[Outage]:
    for name, way in (("killed", killed), ("frozen", frozen)):
        ticket = {"TargetDown"}
        yield Outage(
            name=f"dispatcher {name}",
            produce=partial(way, "dispatcher"),
            status="degraded",
            parts={"dispatcher": "away"},
            metric=('up{process="dispatcher"}', 0),
            alerts=frozenset({"NoDispatcher"} | ticket),
            page=("Dispatcher: last heartbeat",),
            job="in_queue",
        )
        yield Outage(
            name=f"worker {name}",
            produce=partial(way, "worker"),
            alerts=frozenset({"NoWorkers"} | ticket),
            **_NO_WORKER,
        )
        yield Outage(
            name=f"webhook worker {name}",
            produce=partial(way, "webhooks"),
            alerts=frozenset({"NoWebhookWorkers"} | ticket),
            **_NO_WEBHOOKS,
        )
        yield Outage(
            name=f"beat {name}",
            produce=partial(way, "beat"),
            status="degraded",
            parts={"beat": "away"},
            metric=('up{process="beat"}', 0),
            alerts=frozenset({"NoBeat"} | ticket),
            page=("Beat: last heartbeat",),
        )
        yield Outage(
            name=f"web {name}",
            produce=partial(way, "web"),
            metric=('haproxy_server_status{proxy="web",state="UP"}', 0),
            alerts=frozenset({"NoWebServers"} | ticket),
            **_GONE,
        )
        yield Outage(
            name=f"HAProxy {name}",
            produce=partial(way, "haproxy"),
            metric=('up{process="haproxy"}', 0),
            alerts=frozenset({"NoWebServers"} | ticket),
        )


def _of_postgresql() -> Iterator[Outage]:
    yield Outage(
        name="PostgreSQL killed", produce=partial(killed, "postgres"), **_NO_DATABASE
    )
    yield Outage(
        name="PostgreSQL frozen", produce=partial(frozen, "postgres"), **_NO_DATABASE
    )
    yield Outage(
        name="PostgreSQL read-only",
        produce=read_only,
        **{
            **_NO_DATABASE,
            "checks": {"database": "read_only", "regions": "unknown"},
            "page": ("Database: accepts no writes",),
        },
    )
    yield Outage(
        name="PostgreSQL refuses the login", produce=login_refused, **_NO_DATABASE
    )
    yield Outage(
        name="PostgreSQL lacks a migration",
        produce=not_migrated,
        # The process works, but HAProxy sends it nothing.
        status="down",
        parts={"database": "away"},
        ready=503,
        checks={"database": "not_migrated", "regions": "unknown"},
        metric=('haproxy_server_status{proxy="web",state="UP"}', 0),
        alerts=frozenset({"NoWebServers"}),
    )
    yield Outage(
        name="table of jobs locked",
        produce=jobs_locked,
        parts={"database": "away"},
        metric=("transcription_database_up", 0),
        alerts=frozenset({"DatabaseAway"}),
        **{**_DOWN, "ready": 200},
    )


def _of_redis() -> Iterator[Outage]:
    yield Outage(name="Redis killed", produce=partial(killed, "valkey"), **_NO_REDIS)
    yield Outage(name="Redis frozen", produce=partial(frozen, "valkey"), **_NO_REDIS)
    yield Outage(
        name="Redis has another password",
        produce=partial(redis_configured, {"requirepass": "other"}),
        **_NO_REDIS,
    )
    yield Outage(
        name="Redis out of memory (maxmemory)",
        produce=partial(redis_configured, {"maxmemory": "1"}),
        **_FULL_REDIS,
    )
    yield Outage(name="Redis became a replica", produce=redis_replica, **_FULL_REDIS)


def _of_storage() -> Iterator[Outage]:
    yield Outage(
        name="storage full (tmpfs)",
        produce=media_full,
        needs="mount",
        checks={"uploads": "away"},
        **_NO_STORAGE,
    )
    yield Outage(
        name="storage read-only",
        produce=media_read_only,
        needs="mount",
        checks={"uploads": "away"},
        **_NO_STORAGE,
    )
    yield Outage(
        name="folder of results lost",
        produce=partial(folder_lost, "raw"),
        **_NO_STORAGE,
    )
    yield Outage(
        name="folder of uploads lost",
        produce=partial(folder_lost, "incoming"),
        status="degraded",
        parts={"storage": "degraded"},
        checks={"uploads": "away"},
        metric=('transcription_storage_up{process="web"}', 0),
        alerts=frozenset({"StorageAway"}),
        page=("uploads are rejected",),
    )


def _of_upstream() -> Iterator[Outage]:
    yield Outage(name="upstream killed", produce=upstream_killed, **_BREAKER)
    yield Outage(
        name="upstream responds 503",
        produce=partial(upstream_faults, {"status": 503}, 12, _OPEN),
        **_BREAKER,
    )
    yield Outage(
        name="upstream knows another key", produce=upstream_key_changed, **_PAUSED
    )
    yield Outage(
        name="account out of credit (402)",
        produce=partial(upstream_faults, {"status": 402}, 1, _IS_PAUSED),
        **_PAUSED,
    )
    yield Outage(
        name="upstream responds 429",
        produce=partial(
            upstream_faults,
            {"status": 429, "headers": {"retry-after": "25"}},
            1,
            _COOLING,
        ),
        status="degraded",
        parts={"regions": "away"},
        metric=(_COOLING, 1),
        alerts=frozenset({"UpstreamRateLimited"}),
        page=("responded 429",),
        job="in_queue",
        minutes=3,  # it tells of the last five minutes
    )
    yield Outage(
        name="all permits in use",
        produce=calls_take_long,
        metric=('deepgram_permits_in_use{kind="prerecorded"}', 6),
        alerts=frozenset({"PermitsExhausted"}),
        page=("calls at the limit",),
        job="no_permit",
        minutes=16,
    )


def _of_operators() -> Iterator[Outage]:
    yield Outage(
        name="region drained, a job waits",
        produce=partial(region_changed, "drain", "undrain"),
        page=("is drained", "wait for a region"),
        **_CLOSED,
    )
    yield Outage(
        name="region disabled, a job waits",
        produce=partial(region_changed, "disable", "enable"),
        page=("is disabled", "wait for a region"),
        **_CLOSED,
    )
    yield Outage(
        name="region without workers",
        produce=region_without_workers,
        status="degraded",
        parts={"workers": "degraded"},
        metric=('transcription_workers{queue="transcribe.other"}', 0),
        alerts=frozenset({"NoWorkers"}),
        page=("none in other",),
    )
    yield Outage(
        name="another region drained on purpose",
        produce=region_drained_beside_another,
        status="degraded",
        parts={"regions": "degraded"},
        metric=('transcription_region_state{region="other",state="drained"}', 1),
        page=("is drained",),
    )
    yield Outage(
        name="tenant paused on purpose",
        produce=tenant_paused,
        metric=("transcription_queue_depth", 0),
        job="tenant_paused",
        minutes=30,
    )
    yield Outage(
        name="batch held on purpose",
        produce=batch_held,
        metric=("transcription_queue_later", 1),
        minutes=30,
    )


def _of_clocks() -> Iterator[Outage]:
    for seconds, way in ((HOUR, "fast"), (-HOUR, "slow")):
        for name in ("dispatcher", "worker", "webhooks", "beat", "web"):
            yield Outage(
                name=f"clock of {name} an hour {way}",
                produce=partial(clock_moved, name, seconds),
                needs="clock",
                **_WELL,
            )


TABLE = (
    Outage(name="nothing", produce=nothing, **_WELL),
    *_of_processes(),
    *_of_postgresql(),
    *_of_redis(),
    *_of_storage(),
    *_of_upstream(),
    *_of_operators(),
    *_of_clocks(),
)
