"""HTTP answers, and what can be done to them. Pure: all chance comes in."""

import gzip
import itertools
import random
import re
import zlib
from collections.abc import Callable

_MARK = re.compile(r"round=(\d+):([0-9a-f]{8});")
HEADERS = (
    b"Retry-After: 120",
    b"Retry-After: -1",
    b"Retry-After: 99999999999999999999999999",
    b"Retry-After: Sun, 22 Nov 99999 12:10:00 GMT",
    b"Retry-After: Sun, 22 Nov 2026 12:10:00 +9999999999",
    b"Retry-After: Sun, 22 Nov 2026 12:10:99999999999999999999 GMT",
    b"Retry-After: \xb2\xb3",
    b"Retry-After: 22 Nov",
    b"webhook-delivery: disable",
    b"Webhook-Delivery: abort-message",
    b"webhook-delivery: \xff\xfe",
    b"Content-Encoding: gzip",
    b"Content-Encoding: br, zstd, deflate, nonsense",
    b"Content-Type: text/html; charset=utf-99",
    b"Content-Length: 5",
    b"Content-Length: 7, 7",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: -1",
    b"Content-Length: +5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Connection: keep-alive",
    b"Connection: close, upgrade",
    b"Upgrade: h2c",
    b"Location: http://10.0.0.7/",
    b"Set-Cookie: a=b; Domain=127.0.0.1",
    b"Trailer: x",
    b" folded: line",
    b"no colon",
    b": no name",
    b"sp ace: x",
    b"x\x00: nul",
    b"x: \x00",
    b"x: \x0b\x7f",
    b"\xc3\xbc: \xc3\xbc",
    b"",
)
STATUS_LINES = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 302 Found",
    b"HTTP/1.1 410 Gone",
    b"HTTP/1.1 503 Busy",
    b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 103 Early Hints",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 \xff\xfe",
    b"HTTP/1.1 000 Zero",
    b"HTTP/1.1 999 Nine",
    b"HTTP/1.1 99999 Many",
    b"HTTP/1.1 -200 Minus",
    b"HTTP/1.1 2\xb30 Super",
    b"HTTP/2 200 OK",
    b"HTTP/0.9 200 OK",
    b"HTTP/9.9 200 OK",
    b"http/1.1 200 ok",
    b"ICY 200 OK",
    b"200 OK",
    b"RTSP/1.0 200 OK",
    b"SSH-2.0-OpenSSH_9.6",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)
TOKENS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b"\xff",
    b" ",
    b"\t",
    b":",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    "\ud7ff\uffff\U0010ffff\u202e".encode(),
)


def make_answer(draw: random.Random, number: int) -> bytes:
    """Return the bytes of one answer; its body names the round."""
    if draw.random() < 0.02:
        return draw.randbytes(draw.choice((0, 1, 20, 5000)))
    answer = _valid_or_nearly(draw, _body(draw, number))
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 5))):
        answer = draw.choice(MUTATIONS)(draw, answer)
    if draw.random() < 0.05:  # an answer to a question of somebody else's
        answer += _valid_or_nearly(draw, _mark(number).encode())
    if draw.random() < 0.1:
        answer = draw.choice((1, 3, 500)) * b"HTTP/1.1 100 Continue\r\n\r\n" + answer
    return answer


def rounds_told_in(excerpt: str) -> set[int]:
    """Return the rounds whose answers an excerpt shows."""
    return {int(n) for n, _ in _MARK.findall(excerpt) if _mark(int(n)) in excerpt}


def _mark(number: int) -> str:
    """Name the round so that a mutation cannot name another."""
    return f"round={number}:{zlib.crc32(b'%d' % number):08x};"


def cut(draw: random.Random, answer: bytes) -> tuple[bytes, ...]:
    """Cut an answer into pieces, which arrive one after the other."""
    places = sorted(draw.randrange(len(answer) + 1) for _ in range(draw.randint(1, 30)))
    bounds = [0, *places, len(answer)]
    return tuple(answer[a:b] for a, b in itertools.pairwise(bounds))


def _body(draw: random.Random, number: int) -> bytes:
    told = _mark(number).encode()
    return draw.choice(
        (
            told,
            told + b"<html>\0\xff\xfe</html>",
            told + draw.randbytes(draw.choice((10, 8190, 8192, 70_000))),
            told + "ü€\U0001f600".encode() * 3000,
            gzip.compress(told + bytes(100_000)),
            b"",
        )
    )


def _valid_or_nearly(draw: random.Random, body: bytes) -> bytes:
    status = STATUS_LINES[0] if draw.random() < 0.5 else draw.choice(STATUS_LINES)
    headers = [draw.choice(HEADERS) for _ in range(draw.choice((0, 0, 1, 2, 5)))]
    if draw.random() < 0.03:
        headers += [b"x-%d: y" % each for each in range(draw.choice((99, 101, 5000)))]
    if draw.random() < 0.03:
        headers.append(b"x-long: " + b"x" * draw.choice((8000, 65_000, 200_000)))
    framing = draw.choice(("length", "length", "chunks", "none"))
    if framing == "length":
        headers.append(b"Content-Length: %d" % len(body))
    if framing == "chunks":
        headers.append(b"Transfer-Encoding: chunked")
        body = _chunked(draw, body)
    return b"\r\n".join([status, *headers, b"", body])


def _chunked(draw: random.Random, body: bytes) -> bytes:
    pieces = [each for each in cut(draw, body) if each]
    ending = draw.choice((b"", b";ext=1", b'; a="\r\nb"', b" "))
    chunks = [b"%x%s\r\n%s\r\n" % (len(each), ending, each) for each in pieces]
    trailer = draw.choice((b"", b"", b"x: y\r\n", b"webhook-delivery: disable\r\n"))
    return b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


def _place(draw: random.Random, answer: bytes) -> int:
    """Return a place, more often in the head than in the body."""
    return draw.randrange(min(len(answer), draw.choice((80, 500, 10**6))) + 1)


def _flip(draw: random.Random, answer: bytes) -> bytes:
    at = _place(draw, answer)
    return answer[:at] + bytes([draw.randrange(256)]) + answer[at + 1 :]


def _insert(draw: random.Random, answer: bytes) -> bytes:
    at = _place(draw, answer)
    token = draw.choice(TOKENS) if draw.random() < 0.8 else draw.randbytes(4)
    return answer[:at] + token * draw.choice((1, 1, 2, 300)) + answer[at:]


def _delete(draw: random.Random, answer: bytes) -> bytes:
    at = _place(draw, answer)
    return answer[:at] + answer[at + draw.choice((1, 2, 10, 100)) :]


def _repeat(draw: random.Random, answer: bytes) -> bytes:
    at = _place(draw, answer)
    return answer[:at] + answer[at : at + 100] * draw.choice((2, 3, 20)) + answer[at:]


def _truncate(draw: random.Random, answer: bytes) -> bytes:
    return answer[: _place(draw, answer)]


def _bare_newlines(_draw: random.Random, answer: bytes) -> bytes:
    return answer.replace(b"\r\n", b"\n")


def _append(draw: random.Random, answer: bytes) -> bytes:
    return answer + draw.choice(TOKENS)


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip,
    _insert,
    _delete,
    _repeat,
    _truncate,
    _bare_newlines,
    _append,
)
