"""What is hardly HTTP at all, for the server in front of the application."""

from random import Random

from tests.fuzz.mutations import BYTES

_GET = b"GET /v1/me HTTP/1.1\r\nHost: localhost\r\n"
_POST = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)
_STARTS = (
    b"GET /v1/me HTTP/1.0\r\n\r\n",
    b"GET /v1/me\r\n\r\n",
    b"GET  /v1/me  HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /v1/me HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET http://127.0.0.1:22/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\r\n\r\n\r\nGET /v1/me HTTP/1.1\r\nHost: a\r\n\r\n",
    _GET + b"no colon\r\n\r\n",
    _GET + b" folded: 1\r\n\tmore\r\n\r\n",
    _GET + b"X: \0\r\n\r\n",
    _GET + b"X : 1\r\n\r\n",
    _GET + b"Host: b\r\nHost: c\r\n\r\n",
    _GET + b"X-Big: " + b"a" * 100_000 + b"\r\n\r\n",
    _GET + b"".join(b"X-%d: 1\r\n" % n for n in range(300)) + b"\r\n",
    _GET.replace(b"\r\n", b"\n") + b"\n",
    _GET + b"\r\n" + _GET + b"\r\n" + _GET + b"\r\n",
    _GET + b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    _POST + b"Content-Length: -1\r\n\r\n{}",
    _POST + b"Content-Length: 1e3\r\n\r\n{}",
    _POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    _POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    _POST
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    _POST
    + b"Transfer-Encoding: chunked\r\n\r\n2;ext="
    + b"e" * 9000
    + b"\r\n{}\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    _POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
)


def make_garbage(chance: Random) -> bytes:
    """Return bytes to send on a connection of their own."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(1, 400))
    sent = chance.choice(_STARTS)
    for _ in range(chance.choice([0, 1, 1, 3])):
        place = chance.randrange(min(len(sent), 400) + 1)
        match chance.randrange(4):
            case 0:
                sent = sent[:place] + chance.choice(BYTES) + sent[place:]
            case 1:
                sent = sent[:place] + sent[place + chance.randrange(1, 6) :]
            case 2:
                sent = sent[:place]
            case _:
                sent = sent[:place] + bytes([chance.randrange(256)]) + sent[place + 1 :]
    return sent
