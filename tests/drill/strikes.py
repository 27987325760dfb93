"""What befalls a region, and how long it takes until all of it works again."""

import itertools
import time
from dataclasses import dataclass

from tests.chaos.platform import Mark
from tests.drill.stand import Drill
from workers.embedded.supervisor import ChildState

RECOVER_SECONDS = 90.0
DOORS = ("web", "live")
_CALLS = """
SELECT extract(epoch FROM started_at)::float FROM jobs_attempt
WHERE region_id = %s AND outcome = 'ok' AND started_at > to_timestamp(%s)
ORDER BY started_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """In seconds: until the doors take requests again; the longest time, from the
    strike on, in which the region began no call that ended well."""

    what: str
    away: float
    doors_back: float
    calls_paused: float

    def __str__(self) -> str:
        return (
            f"{self.what}, away {self.away:.0f} s: its doors back after"
            f" {self.doors_back:.1f} s, its calls paused for {self.calls_paused:.1f} s"
        )


def strike(drill: Drill, region: str, *kinds: str, away: float) -> Recovery:
    """Kill -9 a region's processes of some kinds, or all; wait until it works again."""
    names = drill.of_region(region, *kinds)
    at = time.time()
    drill.kill(*names, away_seconds=away)
    what = f"{' and '.join(kinds) or 'all'} of {region} killed"
    return _recover(drill, region, what=what, at=at, away=away)


def _recover(
    drill: Drill, region: str, *, what: str, at: float, away: float
) -> Recovery:
    drill.wait(
        lambda: is_whole(drill, region),
        seconds=away + RECOVER_SECONDS,
        what=f"{region} is back",
    )
    back = time.time()
    drill.wait(
        lambda: bool(drill.rows(_CALLS, region, back)),
        seconds=RECOVER_SECONDS,
        what=f"{region} does work again",
    )
    began = [at, *(float(str(row[0])) for row in drill.rows(_CALLS, region, at))]
    gaps = [later - sooner for sooner, later in itertools.pairwise(began)]
    return Recovery(what=what, away=away, doors_back=back - at, calls_paused=max(gaps))


def is_whole(drill: Drill, region: str) -> bool:
    """Tell whether every process of the region is there, and HAProxy knows it."""
    states = [drill.child(name).state for name in drill.of_region(region)]
    return all(state is ChildState.READY for state in states) and drill.servers_up(
        region
    )


def all_doors_down(drill: Drill, *, away: float) -> Recovery:
    """Kill every API server; what comes then is answered 503 with Retry-After."""
    region = drill.regions[0]
    names = [name for each in drill.regions for name in drill.of_region(each, *DOORS)]
    at = time.time()
    drill.kill(*names, away_seconds=away)
    found = _recover(drill, region, what="every door killed", at=at, away=away)
    drill.marks.append(Mark(what="all doors down", at=at, until=time.time()))
    return found


def rolling_restart(drill: Drill) -> float:
    """SIGTERM every process of ours, region by region; return the seconds it took.

    A door says that it is not ready before it stops (DRAIN_SECONDS): docs/upgrades.md.
    HAProxy goes last, under the same sockets.
    """
    began = time.time()
    for region in drill.regions:
        for name in drill.of_region(region, "worker", "webhooks", "dispatcher", *DOORS):
            drill.restart(name)
        drill.wait(
            lambda region=region: drill.servers_up(region),
            seconds=30,
            what=f"the doors of {region} are back",
        )
    drill.reload_front()
    return time.time() - began
