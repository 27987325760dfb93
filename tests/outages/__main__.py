"""`make outages`: produces every outage of the table and compares what is seen.

Arguments select the rows whose names contain one of them. Ends with 1 if a row differs.
`python -m tests.outages --page` writes the table into docs/health.md instead.
"""

import sys

from tests.chaos.platform import Setup
from tests.outages import page, play, stand, table

SETUP = Setup(longest_call_seconds=0.3, threads=10, concurrency=8, lease_seconds=4.0)


def main(words: list[str]) -> int:
    """Play the rows; return how many differ."""
    if words == ["--page"]:
        page.write()
        return 0
    rows = [
        row
        for row in table.TABLE
        if not words or any(word in row.name for word in words)
    ]
    differing = 0
    with stand.running(SETUP) as running:
        running.wait_ended([running.submit()])
        running.learn()
        for row in rows:
            if missing := running.find_missing(row.needs):
                _say(f"WARNING: {row.name}: NOT tested: {missing}")
                continue
            result = play.play(running, row)
            differing += bool(result.differences)
            verdict = "NOT as expected" if result.differences else "as expected"
            _say(f"{row.name}: {verdict} ({result.seconds:.0f} s)")
            for difference in result.differences:
                _say(f"    {difference}")
    _say(f"{differing} of {len(rows)} outages differ from the table")
    return differing


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
