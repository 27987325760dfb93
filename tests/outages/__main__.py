"""Plays the table of outages, or the rows whose names contain one of the arguments."""

import sys

from tests.chaos.platform import Setup
from tests.outages import play, stand, table

SETUP = Setup(longest_call_seconds=0.3, threads=10, concurrency=8, lease_seconds=4.0)


def main(words: list[str]) -> int:
    rows = [
        row
        for row in table.TABLE
        if not words or any(word in row.name for word in words)
    ]
    failed = 0
    with stand.running(SETUP) as running:
        running.wait_ended([running.submit()])
        running.learn()
        for row in rows:
            result = play.play(running, row)
            failed += bool(result.differences)
            mark = "not as expected" if result.differences else "as expected"
            print(f"{row.name}: {mark} ({result.seconds:.0f} s)", flush=True)
            for difference in result.differences:
                print(f"    {difference}", flush=True)
    print(f"{len(rows) - failed} of {len(rows)} outages as in the table")
    return failed


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
