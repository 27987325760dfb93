"""A customer's receiver on a real loopback socket, that can be told to misbehave.

Replies are taken in order, the last one again and again. Raw sockets, because half of
what is tested here is not valid HTTP.
"""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PATIENCE = 20.0
CHUNK = bytes(64 * 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; a drip is a pause in seconds after each byte."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0
    head_drip: float = 0
    body_drip: float = 0
    # Sent instead of everything else.
    raw: bytes | None = None
    # Keep the connection after ``raw``.
    stays: bool = False
    # Bytes of nothing after the body, announced in content-length.
    filler: int = 0
    # "before" or "after" the head: a TCP reset.
    reset: str = ""
    # Close without a byte, in order.
    hang_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Receiver:
    """Listens until closed; counts connections, keeps requests."""

    def __init__(
        self,
        *replies: Reply,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.replies = list(replies) or [Reply()]
        self.received: list[Received] = []
        self.connections = 0
        self.filler_sent = 0
        self.server_names: list[str | None] = []
        self._tls = tls
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server((host, 0), backlog=512)
        self.host, self.port = self._socket.getsockname()[:2]
        self._start(self._accept)

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self.host}:{self.port}/hook"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the last request."""
        return self.received[-1].headers

    def wait_for(self, number: int, *, seconds: float = PATIENCE) -> list[Received]:
        """Return the requests once there are so many."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: len(self.received) >= number, seconds
            ):
                message = f"{len(self.received)} of {number} requests came"
                raise AssertionError(message)
            return list(self.received)

    def close(self) -> None:
        """Stop, in the middle of whatever is being sent."""
        self._stopping.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                peer.settimeout(0.05)  # so that closing is noticed
                self.connections += 1
                self._start(self._serve, peer, self.connections)

    def _serve(self, peer: socket.socket, number: int) -> None:
        with suppress(OSError, EOFError):
            if self._tls:
                peer.settimeout(PATIENCE)
                peer = self._tls.wrap_socket(peer, server_side=True)
                peer.settimeout(0.05)
            while self._answer(peer, self._read(peer, number)):
                pass
        peer.close()

    def _read(self, peer: socket.socket, number: int) -> Reply:
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += self._receive(peer)
        head, _, body = buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        while len(body) < int(headers.get("content-length", 0)):
            body += self._receive(peer)
        method, path, _ = first.split(" ")
        request = Received(
            method=method, path=path, headers=headers, body=body, connection=number
        )
        with self._changed:
            self.received.append(request)
            self._changed.notify_all()
            replies = self.replies
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def _receive(self, peer: socket.socket) -> bytes:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                found = peer.recv(65536)
                if not found:
                    raise EOFError
                return found
        raise EOFError

    def _answer(self, peer: socket.socket, reply: Reply) -> bool:
        """Send the reply; return whether the connection stays."""
        self._stopping.wait(reply.delay)
        peer.settimeout(PATIENCE)
        if reply.raw is not None:
            peer.sendall(reply.raw)
            peer.settimeout(0.05)
            return reply.stays
        if reply.hang_up:
            return False
        if reply.reset == "before":
            return _reset(peer)
        length = len(reply.body) + reply.filler
        lines = [f"HTTP/1.1 {reply.status} Whatever", f"content-length: {length}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        self._send(peer, "\r\n".join([*lines, "", ""]).encode(), reply.head_drip)
        if reply.reset == "after":
            return _reset(peer)
        self._send(peer, reply.body, reply.body_drip)
        for _ in range(0, reply.filler, len(CHUNK)):
            self.filler_sent += peer.send(CHUNK)
        peer.settimeout(0.05)
        return reply.status != 101

    def _send(self, peer: socket.socket, data: bytes, drip: float) -> None:
        if not drip:
            peer.sendall(data)
            return
        for byte in data:
            peer.sendall(bytes([byte]))
            if self._stopping.wait(drip):
                raise EOFError


def _reset(peer: socket.socket) -> bool:
    """Make closing a reset: linger on, for no time."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


@contextmanager
def listening(*replies: Reply, **options: object) -> Iterator[Receiver]:
    """Run a receiver for the block."""
    receiver = Receiver(*replies, **options)
    try:
        yield receiver
    finally:
        receiver.close()
