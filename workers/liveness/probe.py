"""`manage.py probe ROLE`: exit 0 if all processes of a role are live, 1 if not.

Imports no Django, whose load takes a second: orchestrators run it every few seconds.
"""

import argparse
import os
import sys
import time
import urllib.request
from collections.abc import Sequence
from urllib.error import URLError

from workers.liveness import liveness_files

FILE_ROLES = ("worker", "webhooks", "dispatcher", "beat")
HTTP_ROLES = ("web", "live")
WITHIN_SECONDS = 15.0
ANSWER_SECONDS = 5.0


def main(argv: Sequence[str]) -> int:
    """Check each process of the role on this machine; print a line per process."""
    parser = argparse.ArgumentParser(prog="manage.py probe", description=__doc__)
    parser.add_argument("role", choices=(*FILE_ROLES, *HTTP_ROLES))
    parser.add_argument("--pid", type=int, help="check only this process")
    parser.add_argument("--url", default=_default_url(), help="URL for web and live")
    parser.add_argument(
        "--within",
        type=float,
        default=WITHIN_SECONDS,
        help="maximum seconds since the last write, or for the response (at most 5)",
    )
    options = parser.parse_args(argv)
    if options.role in HTTP_ROLES:
        return check_url(options.url, min(options.within, ANSWER_SECONDS))
    folder = liveness_files.folder_of()
    records = [
        record
        for record in liveness_files.read_all(folder)
        if _matches(record, options)
    ]
    if not records:
        print(f"{options.role}: no process writes to {folder}")
        return 1
    return max(
        [check_process(record, options.role, options.within) for record in records]
    )


def check_process(
    record: liveness_files.LivenessRecord, role: str, within: float
) -> int:
    """Print the process's state; return 1 if it is frozen or a part is stuck."""
    now = time.monotonic()
    silent = now - record.written_at
    ages = {part: now - at for part, (at, _) in record.parts.items()}
    stuck = [part for part, (_, limit) in record.parts.items() if ages[part] > limit]
    if silent > within:
        state = f"frozen: silent for {silent:.0f} s"
    elif stuck:
        state = "stuck: " + ", ".join(
            f"{part} for {ages[part]:.0f} s" for part in stuck
        )
    else:
        state = "ok: " + ", ".join(
            f"{part} {age:.1f} s ago" for part, age in ages.items()
        )
    print(f"{role} {record.pid} {state}")
    return int(not state.startswith("ok"))


def check_url(url: str, seconds: float) -> int:
    """Return 1 if the server does not respond; readiness is not checked."""
    # Bypasses the environment's proxy, which cannot reach this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=seconds):
            print(f"{url} answers")
    except (URLError, OSError) as error:
        print(f"{url} does not answer: {error}")
        return 1
    return 0


def _matches(
    record: liveness_files.LivenessRecord, options: argparse.Namespace
) -> bool:
    return options.role in record.roles and options.pid in {None, record.pid}


def _default_url() -> str:
    port = os.environ.get("GRANIAN_PORT", "8000")
    return f"http://127.0.0.1:{port}/health/live"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
