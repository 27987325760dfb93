"""A process that outlives the supervisor to kill its remaining process groups.

The kernel ends a child when its parent dies, but not grandchildren such as web workers
and recognizers. When the supervisor's end of the pipe closes, kill -9 included, the
keeper kills all groups and exits.

Runs as a file (`python -I -S keeper.py`), so it imports the standard library only.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress


class OrphanKiller:
    """The supervisor's end of the pipe."""

    def __init__(self) -> None:
        self._groups: dict[int, float] = {}
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The keeper's process id."""
        return self._process.pid

    def add(self, group: int, *, grace: float) -> None:
        """Register a group, killed `grace` seconds after the supervisor dies."""
        self._groups[group] = grace
        self._send(f"+ {group} {grace}\n")

    def remove(self, group: int) -> None:
        """Unregister a group that has ended: its id may be reused."""
        if self._groups.pop(group, None) is not None:
            self._send(f"- {group} 0\n")

    def ensure(self) -> None:
        """Start a new keeper if this one was killed."""
        if self._process.poll() is not None:
            self.close()
            self._process = self._start()
            for group, grace in self._groups.items():
                self._send(f"+ {group} {grace}\n")

    def close(self) -> None:
        """End the keeper, which kills the registered groups."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  (this file)
            (sys.executable, "-I", "-S", __file__),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _send(self, line: str) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):  # `ensure` starts a new keeper
                self._process.stdin.write(line.encode())


def keep() -> None:
    """Read the groups until the pipe closes, then kill them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, float] = {}
    for line in sys.stdin:
        sign, group, grace = line.split()
        if sign == "+":
            groups[int(group)] = float(grace)
        else:
            groups.pop(int(group), None)
    closed_at = time.monotonic()
    for group, grace in sorted(groups.items(), key=lambda pair: pair[1]):
        while time.monotonic() < closed_at + grace and _is_alive(group):
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _is_alive(group: int) -> bool:
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


if __name__ == "__main__":
    keep()
