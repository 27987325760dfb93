"""Worst-case input of every class, in tables: the fuzzer and the benchmark use it.

A new class is one line in a table. ``vary`` applies all of them to a valid request of
any operation. Pure: nothing is sent here.
"""

import copy
import gzip
import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from tests.fuzz.calls import Call, Part, Template

KIB, MIB = 1024, 1024**2
# What a pattern that is not linear takes seconds for.
_RUN = 8 * KIB

# Name of the class → header and value. Every operation gets each.
HEADERS: dict[str, tuple[str, bytes]] = {
    "Prefer: spaces": ("Prefer", b"a=" + b" " * 980 + b'"'),
    "Prefer: many spaces": ("Prefer", b"wait" + b" " * _RUN + b"="),
    "Prefer: parameters": ("Prefer", b"a" + b";a=b" * 2000 + b'"'),
    "Prefer: commas": ("Prefer", b", " * (_RUN // 2)),
    "Prefer: backslashes": ("Prefer", b'a="' + b"\\" * _RUN),
    "Range: spaces": ("Range", b"bytes=" + b" " * (2 * _RUN) + b"x"),
    "Range: digits": ("Range", b"bytes=" + b"9" * _RUN + b"-"),
    "Range: many": ("Range", b"bytes=" + b"0-0," * 2000),
    "Content-Range: digits": ("Content-Range", b"bytes 0-1/" + b"9" * 5000),
    "Accept: many": ("Accept", b"a/b;q=0.1," * 2000),
    "Accept: spaces": ("Accept", b"text/html" + b" " * _RUN + b";"),
    "Accept: parameters": ("Accept", b"a/b" + b";a=" * 2000),
    "Accept-Language: many": ("Accept-Language", b"en-gb;q=0.5," * 1500),
    "Accept-Encoding: many": ("Accept-Encoding", b"gzip;q=1.0," * 2000),
    "If-None-Match: many": ("If-None-Match", b'W/"a", ' * 2000),
    "If-None-Match: open": ("If-None-Match", b'W/"' + b'a"' * 4000),
    "If-Modified-Since: long": ("If-Modified-Since", b"Mon, " * 2000),
    "Idempotency-Key: long": ("Idempotency-Key", b"k" * _RUN),
    "Idempotency-Key: quotes": ("Idempotency-Key", b'"' * _RUN),
    "X-Request-Id: long": ("X-Request-Id", b"-" * _RUN),
    "X-Forwarded-For: many": ("X-Forwarded-For", b"10.0.0.1, " * 1000),
    "traceparent: long": ("traceparent", b"00-" + b"0" * _RUN),
    "Cookie: many": ("Cookie", b"a=b;" * 3000),
    "Cookie: quotes": ("Cookie", b'csrftoken="' + b"\\" * _RUN + b'"'),
    "Content-Type: parameters": ("Content-Type", b"application/json" + b";a=b" * 2000),
    "Content-Type: spaces": ("Content-Type", b"multipart/" + b" " * _RUN + b";"),
    "Content-Type: quotes": ("Content-Type", b'a/b; a="' + b'\\"' * 4000),
    "Authorization: spaces": ("Authorization", b"Bearer" + b" " * _RUN + b"x"),
    "Authorization: long": ("Authorization", b"Bearer tp_live_" + b"a" * _RUN),
    "Origin: long": ("Origin", b"https://" + b"a." * 4000),
    "Host: long": ("Host", b"a." * 4000),
    "a header of 60 kB": ("X-Long", b"a" * 60_000),
}

# Values that any query parameter gets.
TEXTS: dict[str, str] = {
    "digits": "9" * _RUN,
    "spaces": "%20" * 2000 + "x",
    "dots": "a." * 2000,
    "commas": "," * _RUN,
    "brackets": "[" * _RUN,
    "percent": "%F0%9F%92%A5" * 500,
    "a date's digits": "2026-01-01T00:00:00." + "0" * _RUN + "Z",
    "a long name": "x" * _RUN,
}

# For `q` of the search.
SEARCHES: dict[str, str] = {
    "many words": "%20".join(f"w{n}" for n in range(400)),
    "the same word": "the%20" * 1000,
    "alternatives": "refund%20OR%20" * 300 + "delay",
    "exclusions": "refund" + "%20-delay" * 300,
    "a long phrase": "%22" + "refund%20" * 200 + "%22",
    "many phrases": "%22refund%20delay%22%20" * 30,
    "beginnings": "re*%20" + "%20".join(f"{a}{b}a*" for a in "bdfgk" for b in "aeiou"),
    "a long beginning": "r" * 400 + "*",
    "open quotes": "%22" * 400,
    "nesting": "(" * 200 + "refund" + ")" * 200,
    "exclusions nested": "-" * 400 + "refund",
    "operators": "refund%20OR%20OR%20AND%20-" * 100,
    "operators of the server": "a%20%26%20!%20(b%20%7C%20c)%20%3C-%3E%20" * 30,
    "combining marks": "e" + "%CC%81" * 150,
}

QUERIES: dict[str, list[tuple[str, str]]] = {
    "a thousand parameters": [(f"p{n}", "1") for n in range(1000)],
    "one parameter often": [("limit", "1")] * 1000,
    "metadata by numbers": [(f"metadata.{n}", "x") for n in range(50)],
    "a long name": [("a" * _RUN, "1")],
    "a long cursor": [("cursor", "e" * _RUN)],
    "a query of 60 kB": [("q", "x%20" * 15_000)],
}

PATH_PARTS: dict[str, str] = {
    "a long part": "a" * _RUN,
    "digits": "9" * _RUN,
    "many parts": "a/" * 2000,
    "dots": "../" * 1000,
    "percent": "%2e" * 2000,
}

# Bodies sent as JSON.
JSON_BODIES: dict[str, bytes] = {
    "deep arrays": b"[" * (MIB - 1),
    "closed arrays": b"[" * 400_000 + b"]" * 400_000,
    "deep objects": b'{"a":' * 200_000,
    "a wide object": b"{" + b",".join(b'"k%d":1' % n for n in range(80_000)) + b"}",
    "a wide array": b'{"a":[' + b"0," * 500_000 + b"0]}",
    "digits": b'{"a":' + b"9" * (MIB - 10) + b"}",
    "a fraction": b'{"a":0.' + b"1" * (MIB - 12) + b"}",
    "an exponent": b'{"a":1e' + b"9" * 100_000 + b"}",
    "escapes": b'{"a":"' + b"\\u0041" * 170_000 + b'"}',
    "backslashes": b'{"a":"' + b"\\\\" * 500_000 + b'"}',
    "spaces": b" " * (MIB - 2) + b"{}",
    "an open text": b'{"a":"' + b"x" * (MIB - 10),
    "one key often": b"{" + b'"a":1,' * 160_000 + b'"a":1}',
}


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


# What any field gets.
FIELDS: dict[str, Any] = {
    "a long text": "x" * 500_000,
    "spaces": "https://" + " " * 100_000 + "x",
    "a long host": "https://" + "a." * 50_000 + "com/",
    "a long date": "2026-01-01T00:00:00." + "0" * 100_000 + "Z",
    "digits": "9" * 100_000,
    "a wide list": ["x"] * 50_000,
    "a wide object": {f"k{n}": "v" for n in range(30_000)},
    "a deep object": _deep(60),
    "long keys": {"k" * 10_000 + str(n): "v" for n in range(20)},
    "commas": "," * 100_000,
    "backslashes": "\\" * 100_000,
}


def wav_of_chunks(size: int) -> bytes:
    """Return a WAV file that is nothing but empty chunks of 8 bytes."""
    return b"RIFF" + struct.pack("<I", size) + b"WAVE" + b"junk\0\0\0\0" * (size // 8)


def wav_header(
    *, rate: int = 16_000, byte_rate: int = 32_000, block: int = 2, data: int = 2**31
) -> bytes:
    """Return the head of a WAV file that says so of itself."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, byte_rate, block, 16)
    return (
        b"RIFF\xff\xff\xff\x7fWAVE"
        + fmt
        + b"data"
        + struct.pack("<I", min(data, 2**31))
    )


@cache
def empty_cells(rows: int, columns: int) -> bytes:
    """Return a CSV file of empty cells under names that are allowed, compressed."""
    names = ["audio_url", *(f"metadata.{n}" for n in range(columns - 1))]
    line = b"," * (columns - 1) + b"\n"
    return gzip.compress(",".join(names).encode() + b"\n" + line * rows, 9, mtime=0)


@cache
def made(table: str, name: str) -> Any:
    """Return what the table makes under the name, made once."""
    found = {"media": MEDIA, "forms": FORMS, "frames": FRAMES}[table][name]
    return found()


@cache
def zeros(megabytes: int) -> bytes:
    """Return so much of nothing, compressed."""
    return gzip.compress(bytes(megabytes * MIB), 9, mtime=0)


MEDIA: dict[str, Callable[[], bytes]] = {
    "WAV of empty chunks": lambda: wav_of_chunks(8 * MIB),
    "WAV of one byte a second": lambda: wav_header(byte_rate=1) + bytes(MIB),
    "WAV without a rate": lambda: wav_header(rate=0, byte_rate=0, block=0) + bytes(MIB),
    "WAV of the highest rate": lambda: (
        wav_header(rate=2**32 - 1, byte_rate=2**32 - 1) + bytes(MIB)
    ),
    "MP4 of empty boxes": lambda: (
        b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + b"\0\0\0\x08free" * 250_000
    ),
    "MP4 of nested boxes": lambda: (
        b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42"
        + b"".join(struct.pack(">I4s", MIB - 8 * n, b"moov") for n in range(130_000))
    ),
    "Ogg of empty pages": lambda: (b"OggS\0\2" + bytes(21)) * 70_000,
    "FLAC of empty blocks": lambda: (
        b"fLaC" + b"\0\0\0\x22" + bytes(34) + b"\1\0\0\0" * 500_000
    ),
    "MP3 of tags": lambda: b"ID3\4\0\0\0\0\0\0" * 200_000,
    "WebM of empty elements": lambda: (
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\xec\x80" * 10**6
    ),
    "AIFF of empty chunks": lambda: (
        b"FORM\x7f\xff\xff\xffAIFF" + b"ANNO\0\0\0\0" * 250_000
    ),
}

MANIFESTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "CSV of empty cells": ("application/gzip", lambda: empty_cells(8000, 4000)),
    "CSV of columns": ("text/csv", lambda: b"audio_url," + b"a," * 500_000 + b"\n"),
    "CSV of quotes": ("text/csv", lambda: b"audio_url\n" + b'"' * MIB),
    "CSV of lines": ("text/csv", lambda: b"audio_url\n" + b"\n" * MIB),
    "gzip of zeros": (
        "application/gzip",
        lambda: zeros(200),
    ),
    "gzip of gzip": (
        "application/gzip",
        lambda: gzip.compress(empty_cells(2000, 4000), mtime=0),
    ),
    "gzip of empty members": (
        "application/gzip",
        lambda: gzip.compress(b"", mtime=0) * 50_000,
    ),
    "one long JSON line": (
        "application/x-ndjson",
        lambda: b'{"audio_url":"' + b"x" * (4 * MIB) + b'"}\n',
    ),
    "deep JSON lines": (
        "application/x-ndjson",
        lambda: (b"[" * 60_000 + b"\n") * 20,
    ),
    "empty JSON lines": ("application/x-ndjson", lambda: b"\n" * (2 * MIB)),
    "wide JSON lines": (
        "application/x-ndjson",
        lambda: b"{" + b",".join(b'"k%d":1' % n for n in range(60_000)) + b"}\n",
    ),
}

FORMS: dict[str, Callable[[], list[Part]]] = {
    "many fields": lambda: [Part(name=f"f{n}", content=b"1") for n in range(5000)],
    "many files": lambda: [
        Part(name="file", content=b"1", filename="a.wav") for _ in range(2000)
    ],
    "a long name": lambda: [Part(name="n" * 100_000, content=b"1")],
    "a long header": lambda: [
        Part(name="x", content=b"1", headers=b"\r\nX: " + b"a" * 500_000)
    ],
    "many headers": lambda: [
        Part(name="x", content=b"1", headers=b"\r\nX: 1" * 50_000)
    ],
    "nearly boundaries": lambda: [Part(name="x", content=b"\r\n--fuz" * 100_000)],
    "line ends": lambda: [Part(name="x", content=b"\r\n" * 400_000)],
    "spaces in base64": lambda: [
        Part(
            name="file",
            content=b" " * 800_000,
            filename="a.wav",
            content_type="audio/wav",
            headers=b"\r\nContent-Transfer-Encoding: base64",
        )
    ],
    "deep metadata": lambda: [Part(name="metadata", content=b"[" * 500_000)],
}


def _bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# Messages to a live session; texts are sent as text.
FRAMES: dict[str, Callable[[], list[bytes | str]]] = {
    "WAV of one byte a second": lambda: [wav_header(byte_rate=1) + bytes(MIB - 100)],
    "WAV of empty chunks": lambda: [wav_of_chunks(MIB - 100)],
    "WAV of empty chunks byte by byte": lambda: [*_bytewise(wav_of_chunks(20_000))],
    "WAV of no rate": lambda: [wav_header(rate=0, byte_rate=0, block=0) + bytes(4096)],
    "WebM of empty elements": lambda: [
        made("media", "WebM of empty elements")[: MIB - 1]
    ],
    "Ogg of empty pages": lambda: [made("media", "Ogg of empty pages")[: MIB - 1]],
    "a text of 15 MB": lambda: ["[" + "0," * (15 * MIB // 2) + "0]"],
    "a megabyte of [": lambda: ["[" * (MIB - 1)],
    "deep objects": lambda: ['{"type":' * 100_000],
    "digits": lambda: ['{"type":' + "9" * (MIB - 20) + "}"],
    "many texts": lambda: ['{"type":"keepalive"}'] * 5000,
    "many finals": lambda: ['{"type":"finalize"}'] * 5000,
    "many empty frames": lambda: [b""] * 5000,
}


def vary(template: Template, call: Call) -> Iterator[tuple[str, Call]]:
    """Yield the class and a request of it, for every class that the operation meets.

    What follows a comma and a space at the end of the class names the place.
    """
    for name, header in HEADERS.items():
        yield f"header {name}", _with(call, headers=[*call.headers, header])
    for name, query in _queries(template).items():
        yield f"query {name}", _with(call, query=query)
    for name, part in PATH_PARTS.items():
        at = call.path.rindex("/") + 1
        yield f"path {name}", _with(call, path=call.path[:at] + part)
    if template.method in {"POST", "PUT", "PATCH", "DELETE"}:
        yield from _vary_body(template, call)


def _queries(template: Template) -> dict[str, list[tuple[str, str]]]:
    found = dict(QUERIES)
    for parameter in template.parameters:
        if parameter["in"] == "query":
            name = parameter["name"]
            found |= {f"of {k}, {name}": [(name, text)] for k, text in TEXTS.items()}
            if name == "q":
                found |= {f"search {k}": [("q", text)] for k, text in SEARCHES.items()}
    return found


def _vary_body(template: Template, call: Call) -> Iterator[tuple[str, Call]]:
    for name, body in JSON_BODIES.items():
        yield f"body {name}", _with(call, body=body, form=None)
    yield from _vary_fields(template, call)
    for name in FORMS:
        yield f"form {name}", _with(call, form=made("forms", name), fields=None)
    if template.takes_form:
        yield from _vary_files(call)


def _vary_fields(template: Template, call: Call) -> Iterator[tuple[str, Call]]:
    for example in template.examples[:1]:
        for field in example if isinstance(example, dict) else ():
            for name, value in FIELDS.items():
                fields = {**copy.deepcopy(example), field: value}
                yield f"field {name}, {field}", _with(call, fields=fields, form=None)


def _vary_files(call: Call) -> Iterator[tuple[str, Call]]:
    for name in MEDIA:
        form = [_file(made("media", name))]
        yield f"media {name}", _with(call, form=form, fields=None)
    for name, (kind, manifest) in MANIFESTS.items():
        headers = [*call.headers, ("Content-Type", kind.encode())]
        yield f"manifest {name}", _with(call, headers=headers, body=manifest())


def _file(content: bytes) -> Part:
    return Part(
        name="file", content=content, filename="a.wav", content_type="audio/wav"
    )


def _with(call: Call, **changes: Any) -> Call:
    """Return a copy of the call with other parts."""
    changed = copy.copy(call)
    for name, value in changes.items():
        setattr(changed, name, value)
    named = {name.lower() for name, _ in changes.get("headers", [])[-1:]}
    changed.headers = [
        pair for pair in changed.headers[:-1] if pair[0].lower() not in named
    ] + changed.headers[-1:]
    return changed
