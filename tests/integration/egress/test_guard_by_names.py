"""The cases of the hostile network with names and connections that are only stubs.

Weaker than the kernel's word, but it runs wherever Python does.
"""

import copy
import functools
import socket
import threading
from ipaddress import ip_address

import httpx
import pytest

from tests.netns import cases
from tests.netns.cases import Case
from workers.egress import network
from workers.webhooks.delivery import transport

# Here nobody answers, so nobody redirects.
CASES = [case for case in cases.CASES if case not in cases.REDIRECTS]
create_ssl_context = functools.cache(httpx.create_ssl_context)


class Internet:
    """Looks names up in the zone; notes every connection, and refuses it."""

    def __init__(self) -> None:
        self.tried: set[tuple[str, int]] = set()
        self.waits = threading.Event()
        self._zone = copy.deepcopy(cases.ZONE)

    def look_up(self, name, port, *_arguments, **_options):
        # httpx hands the host over as bytes.
        text = name.decode() if isinstance(name, bytes) else name
        found = self._addresses(text.removesuffix(".").lower())
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [(0, 0, 0, "", (each, port)) for each in found]

    def connect(self, address, *_arguments, **_options):
        host, port = address[:2]
        ip = ip_address(host)
        self.tried.add((str(getattr(ip, "ipv4_mapped", None) or ip), port))
        raise ConnectionRefusedError

    def _addresses(self, name: str) -> list[str]:
        records = self._zone.get(name, {})
        if "HANG" in records:
            self.waits.wait(20)
        if "CNAME" in records:
            return self._addresses(records["CNAME"][0][0])
        lists = [records[kind] for kind in ("A", "AAAA") if kind in records]
        return [
            address
            for answers in lists
            for address in (answers.pop(0) if len(answers) > 1 else answers[0])
        ]


@pytest.fixture
def internet(monkeypatch, settings):
    made = Internet()
    settings.EGRESS_ALLOW = cases.ALLOWED.split(",")
    settings.WEBHOOK_SCHEMES = ["https", "http"]
    monkeypatch.setattr(httpx, "create_ssl_context", create_ssl_context)  # 30 ms each
    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    monkeypatch.setattr(socket, "create_connection", made.connect)
    monkeypatch.setattr(network, "_is_own", lambda ip: str(ip) in cases.OWN)
    yield made
    made.waits.set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_post_tries_nothing_but_what_it_may(internet, settings, case: Case):
    settings.WEBHOOK_TIMEOUT_SECONDS = min(case.seconds, 2)
    ends = [transport.post(case.url, headers={}, body=b"{}") for _ in case.send]

    expected = [
        "connect_failed" if isinstance(each, int) else each for each in case.send
    ]
    assert [each.error for each in ends] == expected
    assert internet.tried == case.reaches
