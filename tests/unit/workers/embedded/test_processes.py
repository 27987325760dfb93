"""Ports for the servers that tests and `make up` start."""

import os
import socket
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


def test_a_chosen_port_stays_reserved_until_its_server_binds_it() -> None:
    port = processes.free_port()

    assert not processes.reserve_port(port)
    with socket.create_server(("127.0.0.1", port)):
        assert processes.group_listens(os.getpgrp(), port)
        assert not processes.group_listens(1, port)
