"""`manage.py probe ROLE`: is a process of ours stuck? Exit 0 well, 1 not, 2 misused.

Plain Python: an orchestrator asks every few seconds, and Django takes one to load.
"""

import argparse
import os
import sys
import time
import urllib.request
from collections.abc import Sequence
from urllib.error import URLError

from workers.liveness import liveness_files

WRITERS = ("worker", "webhooks", "dispatcher", "beat")
ANSWERERS = ("web", "live")
WITHIN_SECONDS = 15.0
ANSWER_SECONDS = 5.0


def main(argv: Sequence[str]) -> int:
    """Judge each process of the role on this machine; print a line for each."""
    parser = argparse.ArgumentParser(prog="manage.py probe", description=__doc__)
    parser.add_argument("role", choices=(*WRITERS, *ANSWERERS))
    parser.add_argument("--pid", type=int, help="this process alone")
    parser.add_argument("--url", default=_address(), help="of web or live")
    parser.add_argument(
        "--within",
        type=float,
        default=WITHIN_SECONDS,
        help="seconds since it wrote, or that an answer may take (then 5 at most)",
    )
    given = parser.parse_args(argv)
    if given.role in ANSWERERS:
        return ask(given.url, min(given.within, ANSWER_SECONDS))
    folder = liveness_files.folder_of()
    beats = [beat for beat in liveness_files.read_all(folder) if _is_meant(beat, given)]
    if not beats:
        print(f"{given.role}: no process writes to {folder}")
        return 1
    return max([judge(beat, given.role, given.within) for beat in beats])


def judge(beat: liveness_files.LivenessRecord, role: str, within: float) -> int:
    """Say what does not get on; a frozen process is no longer asked for its parts."""
    now = time.monotonic()
    silent = now - beat.written_at
    ages = {part: now - at for part, (at, _) in beat.parts.items()}
    stuck = [part for part, (_, limit) in beat.parts.items() if ages[part] > limit]
    if silent > within:
        verdict = f"frozen: silent for {silent:.0f} s"
    elif stuck:
        verdict = "stuck: " + ", ".join(f"{it} for {ages[it]:.0f} s" for it in stuck)
    else:
        verdict = "ok: " + ", ".join(f"{it} {ages[it]:.1f} s ago" for it in ages)
    print(f"{role} {beat.pid} {verdict}")
    return int(not verdict.startswith("ok"))


def ask(url: str, seconds: float) -> int:
    """Have a server answer; whether it is ready is the load balancer's question."""
    # A proxy that the environment may name does not lead to ourselves.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=seconds):
            print(f"{url} answers")
    except (URLError, OSError) as error:
        print(f"{url} does not answer: {error}")
        return 1
    return 0


def _is_meant(beat: liveness_files.LivenessRecord, given: argparse.Namespace) -> bool:
    return given.role in beat.roles and given.pid in {None, beat.pid}


def _address() -> str:
    port = os.environ.get("GRANIAN_PORT", "8000")
    return f"http://127.0.0.1:{port}/health/live"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
