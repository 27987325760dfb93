"""Our side of the wire: runs every case and prints a report, `-m tests.netns.inside`.

The commands of a whole run take a second, so it is one process for all cases.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import django
import httpx
from django.conf import settings

from tests.netns import cases
from tests.netns.outside import NAME_SERVER, say
from tests.netns.servers import Everywhere
from tests.netns.sniffer import Sniffer

OUTSIDE = f"""
link set lo up
addr add {NAME_SERVER}/32 dev lo
addr add 198.51.100.1/30 dev outside
-6 addr add 2001:db8:99::1/64 dev outside nodad
-6 addr add fe80::1/64 dev outside nodad
link set outside up
route add local 0.0.0.0/0 dev lo table main
-6 route add local ::/0 dev lo table main
route add blackhole {cases.SILENT}/32
"""
INSIDE = f"""
addr add {cases.OWN_V4}/32 dev lo
-6 addr add {cases.OWN_V6}/128 dev lo nodad
addr add 198.51.100.2/30 dev inside
-6 addr add 2001:db8:99::2/64 dev inside nodad
-6 addr add fe80::2/64 dev inside nodad
link set inside up
route add default via 198.51.100.1
-6 route add default via 2001:db8:99::1
"""


def main() -> None:
    """Build the wire, run the cases, print what happened."""
    ip("link set lo up")
    outside = subprocess.Popen(
        ("unshare", "-n", sys.executable, "-m", "tests.netns.outside"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    hear(outside)
    ip(f"link add name inside type veth peer name outside netns {outside.pid}")
    told = {
        "commands": OUTSIDE.strip().splitlines(),
        "ports": cases.LISTENING,
        "zone": cases.ZONE,
    }
    outside.stdin.write(json.dumps(told) + "\n")
    outside.stdin.flush()
    for command in INSIDE.strip().splitlines():
        ip(command)
    use_names()
    own = [Everywhere(port) for port in cases.LISTENING]
    django.setup()
    hear(outside)
    results = run_cases()
    outside.stdin.close()
    end = hear(outside)
    end["called"] += [each for server in own for each in server.called]
    say({"results": results, **end})
    sys.stdout.flush()
    os._exit(0)  # a look-up that hangs would keep us


def run_cases() -> dict[str, object]:
    """Run one case after the other, so that every packet has a name."""
    from workers.webhooks.delivery import transport  # noqa: PLC0415  needs Django set up

    # A new transport for every post would read the certificates 500 times.
    httpx.create_ssl_context = functools.cache(httpx.create_ssl_context)
    sniffer = Sniffer()
    results = {}
    for case in cases.CASES:
        settings.WEBHOOK_TIMEOUT_SECONDS = case.seconds
        answers, began = [], time.monotonic()
        for _ in range(case.posts):
            transport.close()  # a kept connection would ask nobody
            answers.append(asdict(transport.post(case.url, headers={}, body=b"{}")))
        took = time.monotonic() - began
        results[case.id] = {"answers": answers, "took": took, "tried": sniffer.take()}
    return results


def use_names() -> None:
    """Put our own resolver files over the machine's; seen by this process alone."""
    folder = Path(tempfile.mkdtemp())
    for name, text in {
        "resolv.conf": f"nameserver {NAME_SERVER}\nsearch {cases.SEARCH}\n",
        "nsswitch.conf": "hosts: files dns\n",
        "hosts": cases.HOSTS,
    }.items():
        (folder / name).write_text(text)
        if (real := Path("/etc", name)).exists():
            subprocess.run(("mount", "--bind", folder / name, real), check=True)


def ip(command: str) -> None:
    """Run one `ip` command."""
    subprocess.run(["ip", *command.split()], check=True)


def hear(process: subprocess.Popen[str]) -> dict[str, object]:
    """Read one line of the other side's."""
    return json.loads(process.stdout.readline())


if __name__ == "__main__":
    main()
