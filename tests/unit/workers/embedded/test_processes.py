"""Ports for the servers that tests and `make up` start."""

import subprocess
import sys

from workers.embedded import processes

LINUX_GIVES_CLIENTS = 32_768  # and more: Documentation/networking/ip-sysctl.rst
# Draws the port that it is told first, then others.
ANOTHER_PROCESS = """
import itertools
import sys
from workers.embedded import processes
draws = itertools.chain([int(sys.argv[1])], processes.PORTS)
processes.secrets.choice = lambda _: next(draws)
print(processes.free_port())
"""


def test_no_port_is_given_twice_and_none_that_a_client_may_get():
    ports = [processes.free_port() for _ in range(300)]

    assert len(set(ports)) == 300
    assert max(ports) < processes.PORTS.stop <= LINUX_GIVES_CLIENTS


def test_another_process_takes_another_port_while_this_one_lives():
    port = processes.free_port()

    words = [sys.executable, "-c", ANOTHER_PROCESS, str(port)]
    theirs = subprocess.check_output(words, text=True)

    assert int(theirs) != port
