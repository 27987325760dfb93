"""A small process that outlives the supervisor only to kill what it left behind.

The kernel ends a child when its parent dies, but not a grandchild: web workers and
recognisers would live on. The keeper knows every process group; when the supervisor's
end of the pipe closes, kill -9 included, it kills them all and ends.

Run as a plain file (`python -I -S keeper.py`), so only the standard library is here.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress


class Keeper:
    """The supervisor's side of the pipe."""

    def __init__(self) -> None:
        self._groups: dict[int, float] = {}
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The keeper's process id."""
        return self._process.pid

    def add(self, group: int, *, grace: float) -> None:
        """Have a group killed at our death, `grace` seconds after it."""
        self._groups[group] = grace
        self._tell(f"+ {group} {grace}\n")

    def remove(self, group: int) -> None:
        """Forget a group that has ended: its number may be given to others."""
        if self._groups.pop(group, None) is not None:
            self._tell(f"- {group} 0\n")

    def ensure(self) -> None:
        """Start a new keeper if somebody killed this one."""
        if self._process.poll() is not None:
            self.close()
            self._process = self._start()
            for group, grace in self._groups.items():
                self._tell(f"+ {group} {grace}\n")

    def close(self) -> None:
        """End the keeper; what it still knows is killed."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  (ourselves)
            (sys.executable, "-I", "-S", __file__),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _tell(self, line: str) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):  # `ensure` sees to it
                self._process.stdin.write(line.encode())


def keep() -> None:
    """Follow the supervisor's words until its pipe closes, then kill what is left."""
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
        while time.monotonic() < closed_at + grace and _lives(group):
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _lives(group: int) -> bool:
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


if __name__ == "__main__":
    keep()
