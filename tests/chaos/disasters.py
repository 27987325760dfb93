"""What can befall the platform, each by name."""

from collections.abc import Callable
from functools import partial

from tests.chaos.platform import Platform

Disaster = Callable[[Platform], None]


def kill(prefix: str, platform: Platform, *, away_seconds: float = 0.0) -> None:
    """Kill -9 the first process of a kind, as found after the last turn."""
    names = platform.names(prefix)
    turn = len(platform.marks) % len(names)
    platform.kill(names[turn], away_seconds=away_seconds)


def kill_busy_worker(platform: Platform) -> None:
    """Kill -9 a worker that is making calls."""

    def find() -> list[str]:
        rows = platform.rows("SELECT worker FROM jobs_attempt WHERE outcome = 'open'")
        pids = {int(str(worker).rsplit(".", 2)[1]) for (worker,) in rows}
        names = platform.names("worker")
        return [name for name in names if platform.child(name).process.pid in pids]

    found: list[str] = []

    def is_found() -> bool:
        found[:] = find()
        return bool(found)

    platform.wait(is_found, seconds=30, what="a worker makes calls")
    platform.kill(found[0])


def kill_leading_dispatcher(platform: Platform) -> None:
    """Kill both dispatchers one after the other: one of them was leading."""
    for name in platform.names("dispatcher"):
        platform.kill(name)


def flush(platform: Platform) -> None:
    platform.flush()


def restart_postgres(platform: Platform) -> None:
    platform.restart("postgres")


def rolling_restart(platform: Platform) -> None:
    """SIGTERM every process of ours in turn, each when the one before is back."""
    for prefix in ("dispatcher", "worker", "webhooks", "web"):
        for name in platform.names(prefix):
            if prefix != "web" or name == "web":
                platform.restart(name)


def kill_after_storing(platform: Platform) -> None:
    """Kill a worker between storing a result and committing it, if the time is right."""
    platform.wait_for_a_stored_result()
    kill("worker", platform)


def freeze(platform: Platform) -> None:
    """Freeze a worker for longer than a lease: its claims are taken back meanwhile."""
    seconds = 3 * platform.setup.lease_seconds
    platform.freeze(platform.names("worker")[0], seconds=seconds)


def lose_storage(platform: Platform) -> None:
    platform.lose_storage(seconds=8)


DISASTERS: dict[str, Disaster] = {
    "kill a worker": partial(kill, "worker"),
    "kill a busy worker": kill_busy_worker,
    "kill a worker after storing": kill_after_storing,
    "freeze a worker": freeze,
    "storage gone for 8 s": lose_storage,
    "kill the dispatchers": kill_leading_dispatcher,
    "kill web": partial(kill, "web"),
    "kill the webhook worker": partial(kill, "webhooks"),
    "flush redis": flush,
    "restart redis empty": partial(kill, "valkey"),
    "redis gone for 30 s": partial(kill, "valkey", away_seconds=30),
    "restart postgres": restart_postgres,
    "crash postgres": partial(kill, "postgres"),
    "upstream gone for 20 s": partial(kill, "emulator", away_seconds=20),
    "rolling restart": rolling_restart,
}
