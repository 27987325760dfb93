"""What stands outside: HTTP on every address, and names that lie.

Only the standard library: these run in a bare child process.
"""

import socket
import socketserver
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

TYPES = {1: "A", 28: "AAAA"}
SERVFAIL, NXDOMAIN = 2, 3
# One name: its answers by type, one list a look-up, the last again and again.
Zone = dict[str, dict[str, list[list[str]]]]


class Everywhere(ThreadingHTTPServer):
    """Accepts on one port of every address; keeps the address that was called."""

    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        self.called: list[tuple[str, int]] = []
        super().__init__(("::", port), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)  # HTTPServer's looks names up

    def get_request(self):
        peer, address = super().get_request()
        host, port = peer.getsockname()[:2]
        self.called.append((plain(host), port))
        return peer, address


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Answer as the query says: ``?status=302&to=http://…``."""
        self.rfile.read(int(self.headers["content-length"]))
        query = parse_qs(urlsplit(self.path).query)
        self.send_response(int(query.get("status", ["200"])[0]))
        for target in query.get("to", []):
            self.send_header("location", target)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format, *args) -> None:  # noqa: A002  its name there
        """Keep quiet."""


class NameServer:
    """Answers from a zone over UDP, and keeps what it was asked."""

    def __init__(self, address: str, zone: Zone) -> None:
        self.asked: list[str] = []
        self._zone = zone
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            question, peer = self._socket.recvfrom(512)
            reply = self._answer(question)
            if reply:
                self._socket.sendto(reply, peer)

    def _answer(self, question: bytes) -> bytes:
        name, end = _read_name(question)
        (kind,) = struct.unpack_from("!H", question, end)
        self.asked.append(name)
        records = self._zone.get(name)
        if records is None:
            return _reply(question, end, NXDOMAIN)
        if "HANG" in records:
            return b""
        if "SERVFAIL" in records:
            return _reply(question, end, SERVFAIL)
        answers = [_record(5, _pack_name(each[0])) for each in records.get("CNAME", [])]
        for target, *_ in records.get("CNAME", []):
            answers += self._addresses(target, kind, owner=_pack_name(target))
        answers += self._addresses(name, kind, owner=b"\xc0\x0c")
        return _reply(question, end, 0, answers)

    def _addresses(self, name: str, kind: int, *, owner: bytes) -> list[bytes]:
        lists = self._zone[name].get(TYPES.get(kind, ""), [[]])
        found = lists.pop(0) if len(lists) > 1 else lists[0]
        return [_record(kind, ip_address(each).packed, owner=owner) for each in found]


def plain(host: str) -> str:
    """Return an address as text: IPv4 as itself, no interface."""
    ip = ip_address(host.partition("%")[0])
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _read_name(question: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def _pack_name(name: str) -> bytes:
    labels = (bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"".join(labels) + b"\0"


def _record(kind: int, value: bytes, *, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, 0, len(value)) + value


def _reply(question: bytes, end: int, code: int, answers: list[bytes] = []) -> bytes:  # noqa: B006  never changed
    head = question[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(answers), 0, 0)
    return head + question[12 : end + 4] + b"".join(answers)
