"""A customer: serves the audio, receives webhooks, and records when each arrived.

Runs as a separate process (`python -m tests.bench.sink`), so that neither side pays for
it. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

import argparse
import asyncio
import json
import math
import struct
import time
from pathlib import Path
from typing import Any

SLOW_SECONDS = 15.0  # at /slow: one request at a time comes over a connection
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Sink(asyncio.Protocol):
    """One kept-alive connection; requests come one after another."""

    received: list[tuple[float, bytes, bool]] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            lowered = head.lower()
            length = _length_of(lowered)
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            if head.startswith(b"POST /slow"):
                loop = asyncio.get_running_loop()
                loop.call_later(SLOW_SECONDS, self._transport.write, _OK)
                continue
            self._transport.write(self._answer(head, lowered, rest[:length]))

    def _answer(self, head: bytes, lowered: bytes, body: bytes) -> bytes:
        if head.startswith(b"POST"):
            signed = b"\r\nwebhook-signature: v1," in lowered
            self.received.append((time.monotonic(), body, signed))
            return _OK
        if head.startswith(b"DELETE"):
            self.received.clear()
            return _OK
        if head.startswith(b"GET /audio"):
            return _respond(_WAV, "audio/wav")
        if head.startswith(b"GET /count"):
            return _respond(json.dumps(len(self.received)).encode())
        log = [
            (at, json.loads(body)["data"]["id"], signed)
            for at, body, signed in self.received
        ]
        return _respond(json.dumps(log).encode())


def _length_of(head: bytes) -> int:
    _, found, rest = head.partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def _respond(body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _make_wav(seconds: float = 2.0, rate: int = 8000) -> bytes:
    frames = int(seconds * rate)
    tone = (int(9000 * math.sin(440 * math.tau * n / rate)) for n in range(frames))
    data = struct.pack(f"<{frames}h", *tone)
    shape = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    chunks = b"WAVEfmt " + shape + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


_WAV = _make_wav()


async def _serve(ready_file: Path) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=512)
    host, port = server.sockets[0].getsockname()[:2]
    ready_file.with_suffix(".new").write_text(f"http://{host}:{port}")
    ready_file.with_suffix(".new").replace(ready_file)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("ready_file", type=Path)
    asyncio.run(_serve(parser.parse_args().ready_file))
