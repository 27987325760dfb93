"""`make chaos`: every disaster, in random order and at random moments, checked each.

CHAOS_SECONDS (600), CHAOS_SEED (random), CHAOS_JOBS (500 a cycle) and CHAOS_ONLY (part
of a disaster's name) come from the environment. Ends with 1 at the first broken promise,
and keeps the folder with the logs.
"""

import os
import random
import shutil
import sys
import time
from itertools import count

from tests.chaos import cycle
from tests.chaos.disasters import DISASTERS
from tests.chaos.platform import Platform, Setup, find_members, running
from workers.embedded.binaries import scratch_folder

JOBS_PER_SECOND = 40.0
# Now and then the next disaster comes before the last one is mended.
PAIRED_SHARE = 0.3


def main() -> int:
    """Run cycles until the time is over; print one line each."""
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    seconds = float(os.environ.get("CHAOS_SECONDS") or 600)
    _say(f"seed {seed}: CHAOS_SEED={seed} make chaos plays the same")
    folder = scratch_folder("transcribe-chaos-")
    _say(f"logs {folder}/data/log")
    with running(folder / "data", Setup(seed=seed)) as platform:
        is_well = _play(platform, random.Random(seed), time.monotonic() + seconds)
    for process in (left := find_members(folder)).values():
        _say(f"    BROKEN left behind: {process}")
    if not is_well or left:
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _play(platform: Platform, chance: random.Random, end: float) -> bool:
    only = os.environ.get("CHAOS_ONLY", "")
    names = [name for name in DISASTERS if only in name]
    jobs = int(os.environ.get("CHAOS_JOBS") or 500)
    deck: list[str] = []
    for number in count(1):
        if time.monotonic() > end:
            return True
        deck = deck or chance.sample(names, len(names))
        chosen = [deck.pop()]
        if len(names) > 1 and chance.random() < PAIRED_SHARE:
            chosen.append(chance.choice(names))
        strikes = sorted((chance.uniform(0.1, 0.9), name) for name in chosen)
        told = ", ".join(f"{name} at {share:.0%}" for share, name in strikes)
        _say(f"{number:3} {told} …")
        load = cycle.Load(name=f"c{number}", jobs=jobs, per_second=JOBS_PER_SECOND)
        report = cycle.play(
            platform, load, [(share, DISASTERS[name]) for share, name in strikes]
        )
        _say(
            f"    {report.seconds:.0f} s, settled {report.settled_in:.0f} s after the"
            f" last submit; {report.retried_submits} submits sent again;"
            f" {report.calls} calls and {report.unknown} unknown so far"
        )
        for wrong in report.broken[:50]:
            _say(f"    BROKEN {wrong}")
        if report.broken:
            return False
    return True


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  a command prints


if __name__ == "__main__":
    sys.exit(main())
