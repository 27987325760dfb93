"""The network backend on real loopback sockets: deadlines, the guard, TLS names."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import httpx
import pytest

from jobs.egress.addresses import EgressAllow
from tests.support.certificates import new_authority
from tests.support.webhook_receiver import Reply, listening
from workers.egress import network

ALLOW_LOOPBACK = EgressAllow.parse(["127.0.0.0/8"])
ALLOW_NOTHING = EgressAllow()


@contextmanager
def client_of(guard: EgressAllow | None = None, **options) -> Iterator[httpx.Client]:
    options = {"max_connections": 4} | options
    transport = network.build_transport(guard=guard, **options)
    with httpx.Client(transport=transport, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with client_of() as built:
        yield built


class Names:
    """A resolver that knows what it was told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.hangs = threading.Event()
        self.hangs.set()
        self._real = socket.getaddrinfo

    def look_up(self, name, port, *args, **options):
        try:
            ip_address(name)
        except ValueError:
            self.asked.append(name)
            self.hangs.wait(20)
            found = self.known.get(name.removesuffix("."), [])
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "not known") from None
            return [(0, 0, 0, "", (each, port)) for each in found]
        return self._real(name, port, *args, **options)


@pytest.fixture
def names(monkeypatch) -> Names:
    resolver = Names()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.look_up)
    return resolver


def test_httpx_still_has_the_pool_that_is_replaced():
    transport = network.build_transport(
        guard=None, max_connections=7, keepalive_expiry=2
    )

    pool = transport._pool
    assert isinstance(pool, type(httpx.HTTPTransport()._pool))
    assert (pool._max_connections, pool._keepalive_expiry) == (7, 2)
    assert isinstance(pool._network_backend, network._Backend)


# --- deadlines ----------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        Reply(delay=30),
        Reply(head_drip=0.05, headers={"x-long": "x" * 2000}),
        Reply(body=b"x" * 2000, body_drip=0.05),
        Reply(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 200_000),
    ],
    ids=["silent", "dripping head", "dripping body", "flood of 1xx"],
)
def test_a_call_ends_at_its_deadline_whatever_the_peer_does(client, reply):
    with listening(reply) as receiver:
        began = time.monotonic()
        with pytest.raises(network.DeadlineExceeded), network.deadline(0.4):
            client.post(receiver.url, content=b"x")
        took = time.monotonic() - began

    assert 0.4 <= took < 3


def test_inside_the_block_a_passed_deadline_is_the_usual_timeout(client):
    caught = []

    def call(url: str) -> None:
        try:
            client.get(url)
        except httpx.HTTPError as error:
            caught.append(type(error))
            raise

    with listening(Reply(delay=30)) as receiver:
        for seconds in (0.2, -1):
            with pytest.raises(network.DeadlineExceeded), network.deadline(seconds):
                call(receiver.url)

    assert caught == [httpx.ReadTimeout, httpx.PoolTimeout]


def test_a_slow_read_before_the_deadline_is_no_passed_deadline(client):
    with (
        listening(Reply(delay=30)) as receiver,
        pytest.raises(httpx.ReadTimeout) as caught,
        network.deadline(20),
    ):
        client.get(receiver.url, timeout=0.1)

    assert caught.type is httpx.ReadTimeout


def test_a_peer_that_reads_slowly_cannot_stretch_an_upload(client):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        done = threading.Event()

        def sip() -> None:
            peer, _ = server.accept()
            while peer.recv(512) and not done.wait(0.01):
                pass
            peer.close()

        sipping = threading.Thread(target=sip)
        sipping.start()
        began = time.monotonic()
        with pytest.raises(network.DeadlineExceeded), network.deadline(0.5):
            client.post(
                f"http://127.0.0.1:{server.getsockname()[1]}/",
                content=bytes(50_000_000),
            )
        took = time.monotonic() - began
        done.set()
        sipping.join()

    assert 0.5 <= took < 3


def test_a_handshake_that_never_ends_is_under_the_deadline(client):
    began = time.monotonic()
    with (
        listening() as receiver,
        pytest.raises(network.DeadlineExceeded),
        network.deadline(0.3),
    ):
        client.get(receiver.url.replace("http:", "https:"))

    assert 0.3 <= time.monotonic() - began < 3


def test_a_name_server_that_never_answers_is_under_the_deadline(client, names):
    names.hangs.clear()
    began = time.monotonic()
    with pytest.raises(network.DeadlineExceeded), network.deadline(0.3):
        client.get("http://slow.example/")
    took = time.monotonic() - began
    names.hangs.set()

    assert 0.3 <= took < 3


def test_a_kept_connection_obeys_the_deadline_of_who_uses_it_now(client):
    with listening(Reply(), Reply(delay=30)) as receiver:
        with network.deadline(0.2):
            client.get(receiver.url)
        time.sleep(0.25)  # the first caller's deadline is over, the connection lives
        with pytest.raises(network.DeadlineExceeded), network.deadline(0.3):
            client.get(receiver.url)
        connections = [each.connection for each in receiver.wait_for(2)]

    assert connections == [1, 1]


def test_waiting_for_a_free_connection_is_under_the_deadline():
    reply = Reply(filler=10**7)
    with client_of(max_connections=1) as client, listening(reply) as receiver:
        # An answer that is not read to its end keeps its connection.
        with (
            client.stream("GET", receiver.url),
            pytest.raises(network.DeadlineExceeded),
            network.deadline(0.2),
        ):
            client.get(receiver.url)

        assert receiver.connections == 1


def test_a_deadline_inside_another_cannot_outlast_it():
    with network.deadline(0.1), network.deadline(10) as inner:
        assert inner.left <= 0.1


def test_a_generator_is_uploaded_whole_with_its_length(client):
    def pieces() -> Iterator[bytes]:
        for number in range(8):
            yield bytes([number]) * 1024**2

    with listening() as receiver, network.deadline(20):
        client.post(
            receiver.url, content=pieces(), headers={"content-length": str(8 * 1024**2)}
        )

    assert receiver.received[0].body == b"".join(pieces())
    assert "transfer-encoding" not in receiver.headers


# --- the guard ----------------------------------------------------------------

INTERNAL = [
    "127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "100.64.0.7",
    "0.0.0.0",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "fd00:ec2::254",
    "fe80::1%lo",
]


@pytest.mark.parametrize("address", INTERNAL)
def test_a_name_that_leads_inside_is_refused_without_a_packet(names, address):
    with client_of(ALLOW_NOTHING) as client, listening() as receiver:
        names.known["evil.example"] = ["93.184.215.14", address]
        with pytest.raises(network.DestinationNotAllowed) as refusal:
            client.get(f"http://evil.example:{receiver.port}/")

        assert receiver.connections == 0
    assert str(refusal.value) == "This destination is not allowed."


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_literal_that_leads_inside_is_refused_without_a_packet(host):
    with client_of(ALLOW_NOTHING) as client, listening() as receiver:
        with pytest.raises(network.DestinationNotAllowed):
            client.get(f"http://{host}:{receiver.port}/")

        assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "localhost"])
def test_an_address_in_disguise_is_a_name_that_nobody_knows(names, host):
    with client_of(ALLOW_NOTHING) as client, listening() as receiver:
        with pytest.raises(httpx.ConnectError) as caught:
            client.get(f"http://{host}:{receiver.port}/")

        assert receiver.connections == 0
    assert isinstance(caught.value.__cause__, network.NameNotResolved)
    assert names.asked == [f"{host}."]


def test_a_public_address_of_our_own_machine_is_inside(names, monkeypatch):
    names.known["own.example"] = ["8.8.8.8"]
    monkeypatch.setattr(network, "_is_own", lambda address: str(address) == "8.8.8.8")
    with (
        client_of(ALLOW_NOTHING) as client,
        pytest.raises(network.DestinationNotAllowed),
    ):
        client.get("http://own.example/")


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1", True), ("::1", True), ("8.8.8.8", False), ("ff0e::1", False)],
)
def test_whose_an_address_is_is_known_without_a_packet(address, own):
    assert network._is_own(ip_address(address)) is own


def test_each_new_connection_is_checked_so_that_rebinding_gains_nothing(names):
    with (
        client_of(ALLOW_LOOPBACK, keepalive_expiry=0) as client,
        listening() as receiver,
    ):
        url = f"http://turning.example:{receiver.port}/"
        names.known["turning.example"] = ["127.0.0.1"]
        client.get(url)
        names.known["turning.example"] = ["127.0.0.1", "10.0.0.1"]
        with pytest.raises(network.DestinationNotAllowed):
            client.get(url)

        assert receiver.connections == 1
    assert names.asked == ["turning.example."] * 2


def test_a_listed_host_is_resolved_as_the_machine_would(names):
    with listening() as receiver:
        allow = EgressAllow.parse([f"hooks:{receiver.port}"])
        names.known["hooks"] = ["127.0.0.1"]
        with client_of(allow) as client:
            answer = client.get(f"http://hooks:{receiver.port}/")
            with pytest.raises(network.DestinationNotAllowed):
                client.get(f"http://hooks:{receiver.port + 1}/")

    assert answer.status_code == 200
    assert names.asked == ["hooks", "hooks."]


def test_without_a_guard_a_dead_address_leaves_the_next_one_a_chance(client, names):
    with listening() as receiver:
        names.known["two.example"] = ["127.0.0.9", "127.0.0.1"]
        answer = client.get(f"http://two.example:{receiver.port}/")

    assert answer.status_code == 200
    assert names.asked == ["two.example"]


# --- TLS ----------------------------------------------------------------------


def test_sni_host_and_certificate_go_by_the_name_not_the_address(names, tmp_path):
    authority = new_authority(tmp_path)
    server = authority.server("hooks.example")
    asked_for: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    names.known |= {"hooks.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
    with (
        listening(tls=server) as receiver,
        client_of(ALLOW_LOOPBACK, ssl_context=authority.client) as client,
    ):
        client.post(f"https://hooks.example:{receiver.port}/", content=bytes(10**6))
        with pytest.raises(httpx.ConnectError) as wrong_name:
            client.get(f"https://other.example:{receiver.port}/")
        received = receiver.wait_for(1)

    assert [each.headers["host"] for each in received] == [
        f"hooks.example:{receiver.port}"
    ]
    assert len(received[0].body) == 10**6
    assert asked_for == ["hooks.example", "other.example"]
    assert isinstance(wrong_name.value.__cause__, network.TlsFailed)
