"""`make drill`: lose a region, piece by piece and whole, under load; then restart all.

DRILL_RATE (50 requests a second), DRILL_REGION (us-east-1, where beat is) and DRILL_AWAY
(8 seconds) come from the environment. Ends with 1 when a promise is broken, and keeps
the folder with the logs.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

from tests.chaos import cycle
from tests.chaos.platform import Setup, find_members
from tests.drill import judge, strikes
from tests.drill.load import Load, describe
from tests.drill.stand import Drill, running, shape_of
from workers.embedded.binaries import scratch_folder

QUIET_SECONDS = 6.0


def main() -> int:
    """Play all of it; print one line each."""
    folder = scratch_folder("transcribe-drill-")
    setup = Setup(lease_seconds=10.0, longest_call_seconds=1.0, threads=10)
    began = time.monotonic()
    with running(folder / "data", setup, shape_of(setup)) as drill:
        _say(f"up after {time.monotonic() - began:.0f} s; logs {folder}/data/log")
        broken = play(drill, per_second=float(os.environ.get("DRILL_RATE") or 50))
    for wrong in broken[:50]:
        _say(f"BROKEN {wrong}")
    left = find_members(folder)
    for process in left.values():
        _say(f"BROKEN left behind: {process}")
    _say(f"{time.monotonic() - began:.0f} s in all")
    if broken or left:
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def play(drill: Drill, *, per_second: float) -> list[str]:
    """Strike under load, wait until all has settled, and return what is broken."""
    region = os.environ.get("DRILL_REGION") or drill.regions[0]
    away = float(os.environ.get("DRILL_AWAY") or 8)
    plan: list[Callable[[], object]] = [
        *(
            partial(strikes.strike, drill, region, *kinds, away=away)
            for kinds in (strikes.DOORS, ("valkey",), ("emulator",), ())
        ),
        lambda: (
            f"everything restarted in turn in {strikes.rolling_restart(drill):.0f} s"
        ),
        partial(strikes.all_doors_down, drill, away=away / 2),
    ]
    with closing(Load(drill, per_second=per_second)) as load:
        _rest(drill)
        for act in plan:
            before = len(load.sent)
            told = act()
            _rest(drill)
            phase = load.sent[before:]
            failed = sum(each.failed for each in phase)
            _say(f"{told}\n    {failed} failed of {describe(phase)}")
        load.stop()
        cycle.settle(drill)
        return judge.find_broken(drill, load.sent)


def _rest(drill: Drill) -> None:
    end = time.monotonic() + QUIET_SECONDS
    drill.wait(
        lambda: time.monotonic() > end, seconds=QUIET_SECONDS * 2, what="a moment"
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  a command prints


if __name__ == "__main__":
    sys.exit(main())
