"""The other end of the wire: `python -m tests.netns.outside`, told what by its input.

Says "here" at once, "ready" when everything answers, and what reached it at the end.
"""

import json
import subprocess
import sys

from tests.netns.servers import Everywhere, NameServer

NAME_SERVER = "9.9.9.9"


def main() -> None:
    """Answer everywhere until the input ends."""
    say({"here": True})
    told = json.loads(sys.stdin.readline())
    for command in told["commands"]:
        subprocess.run(["ip", *command.split()], check=True)
    names = NameServer(NAME_SERVER, told["zone"])
    servers = [Everywhere(port) for port in told["ports"]]
    say({"ready": True})
    sys.stdin.read()
    called = [each for server in servers for each in server.called]
    say({"called": called, "asked": names.asked})


def say(answer: object) -> None:
    """Write one line to who started us."""
    print(json.dumps(answer), flush=True)  # noqa: T201  the protocol


if __name__ == "__main__":
    main()
