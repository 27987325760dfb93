"""A small CONNECT proxy on a real loopback socket, with names of its own."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress


class ConnectProxy:
    """Opens tunnels to the ports that its names stand for; keeps what it was asked."""

    def __init__(self, names: Mapping[str, int]) -> None:
        self.asked: list[str] = []
        self._names = names
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        """Stop accepting; tunnels end with the connections in them."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                self._start(self._serve, peer)

    def _serve(self, peer: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.recv(4096)
        method, target, version = head.split(b"\r\n")[0].decode().split(" ")
        assert (method, version) == ("CONNECT", "HTTP/1.1")
        self.asked.append(target)
        with socket.create_connection(("127.0.0.1", self._names[target])) as receiver:
            peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(receiver, peer))
            back.start()
            _pump(peer, receiver)
            back.join(10)
        peer.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while found := source.recv(65536):
            sink.sendall(found)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxying(names: Mapping[str, int]) -> Iterator[ConnectProxy]:
    """Run a proxy for the block; ``names`` maps "host:port" to a loopback port."""
    proxy = ConnectProxy(names)
    try:
        yield proxy
    finally:
        proxy.close()
