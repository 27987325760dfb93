"""Ways to spoil a valid request: its fields, its form, its query, its head, its bytes.

Each takes the call and chance, and changes the call in place.
"""

import copy
import gzip
import json
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.calls import Call, Part

Mutation = Callable[[Call, Random], None]

TEXTS: tuple[str, ...] = (
    *("", " ", "\0", "a\0b", "\ud800", "\u202e", "\ufeff", "null", "None", "NaN"),
    *(
        "💥" * 40,
        "x" * 600,
        "x" * 5000,
        "'; DROP TABLE jobs_job; --",
        "{{7*7}}",
        "%s%n",
    ),
    *(
        "../../etc/passwd",
        "http://127.0.0.1/",
        "http://[::1]:22/",
        "file:///etc/passwd",
    ),
    *(
        "https://user:pw@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://②⑦.0.0.1/",
    ),
    *(
        "https://example.com/" + "a" * 2100,
        "https://example.com:99999/",
        "//example.com",
    ),
    *(
        "9999-12-31T23:59:59Z",
        "0000-00-00",
        "2026-02-30T25:61:61Z",
        "2026-03-01T00:00:00+99:99",
    ),
    *(
        "-1",
        "1e309",
        "0x10",
        "\uff11\uff12",
        "true",
        "<script>",
        "\r\nX-Evil: 1",
        "urgent",
        "completed",
    ),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**53,
        2**53 - 1,
        -(2**63),
        10**400,
        0.5,
        -0.0,
    ),
    *(1e308, float("nan"), float("inf"), [], {}, [[]], [None], {"": ""}, ["x"] * 2000),
    *({str(n): n for n in range(200)}, {"a": {"b": {"c": {"d": {"e": {"f": {}}}}}}}),
)
NAMES = (
    "__proto__",
    "id",
    "status",
    "tenant",
    "tenant_id",
    "",
    "a/b",
    "~",
    "0",
    "é",
    "\0",
)
BYTES = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xc3\x28",
    b"x" * 3000,
    b"\xed\xa0\x80",
    b"a\tb",
    b'"',
    b",,",
)


def any_value(chance: Random) -> Any:
    """Return something that hardly any field takes."""
    if chance.random() < 0.5:
        return chance.choice(TEXTS)
    return copy.deepcopy(chance.choice(VALUES))  # other mutations change it


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container and key of a JSON value."""
    keys = (
        value.keys()
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    return [
        place for key in list(keys) for place in [(value, key), *_places(value[key])]
    ]


def replace_a_value(call: Call, chance: Random) -> None:
    """Put something else where a value stands."""
    if places := _places(call.fields):
        container, key = chance.choice(places)
        container[key] = any_value(chance)


def drop_a_field(call: Call, chance: Random) -> None:
    """Leave a field out."""
    if places := _places(call.fields):
        container, key = chance.choice(places)
        del container[key]


def add_a_field(call: Call, chance: Random) -> None:
    """Add a field that nobody knows, or one that belongs elsewhere."""
    whole = call.fields if isinstance(call.fields, dict) else {}
    whole[chance.choice((*NAMES, "audio_url", "file", "options"))] = any_value(chance)
    call.fields = whole


def replace_the_body(call: Call, chance: Random) -> None:
    """Send another JSON value than an object."""
    call.fields = any_value(chance)


def spoil_the_json(call: Call, chance: Random) -> None:
    """Send bytes that are nearly JSON."""
    body = call.encode_body() or b"{}"
    cut = chance.randrange(len(body) + 1)
    call.body = chance.choice(
        [
            body[:cut],
            body[:cut] + chance.choice(BYTES) + body[cut:],
            body.decode(errors="replace").encode("utf-16"),
            b"\xef\xbb\xbf" + body,
            body + body,
            body[:-1] + b',"audio_url":1,"audio_url":2}',
            b"[" * chance.choice([9, 500, 100_000]),
            b'{"a":' * 300 + b"1" + b"}" * 300,
            b"1" * 5000,
            b'{"audio_url":"\\ud800"}',
            b" " * (1024**2 + 1),
            gzip.compress(body),
            json.dumps({"metadata": {"k": "v" * chance.randrange(2000)}}).encode(),
        ]
    )


def _plain_text(chance: Random) -> str:
    return chance.choice(TEXTS).replace("\ud800", "?")[:3000]


def _rename(part: Part, chance: Random) -> None:
    part.name = _plain_text(chance)[:200]


def _rename_file(part: Part, chance: Random) -> None:
    part.filename = _plain_text(chance) if chance.random() < 0.7 else None


def _spoil_content(part: Part, chance: Random) -> None:
    cut = chance.randrange(len(part.content) + 1)
    middle = chance.choice(BYTES)
    part.content = part.content[:cut] + middle + part.content[cut + 2 :]


def _spoil_head(part: Part, chance: Random) -> None:
    lines = [chance.choice(BYTES) + b": " + chance.choice(BYTES)]
    lines += [
        b"Content-Transfer-Encoding: base64",
        b"Content-Type: text/plain; charset=x",
    ]
    part.headers = b"\r\n" + chance.choice(lines)


def _more_parts(chance: Random) -> list[Part]:
    name = chance.choice(["options", "metadata", "x"])
    return chance.choice(
        [
            [Part(name=name, content=chance.choice(BYTES))],
            [Part(name=f"f{number}", content=b"1") for number in range(1200)],
            [Part(name="file", content=chance.randbytes(500), filename="b.mp3")],
        ]
    )


def spoil_the_form(call: Call, chance: Random) -> None:
    """Send a form that is odd in its parts, its boundary or its end."""
    parts = call.form or [Part(name="file", content=b"RIFF", filename="a.wav")]
    spoil = chance.choice([_rename, _rename_file, _spoil_content, _spoil_head, None])
    if spoil:
        spoil(chance.choice(parts), chance)
    else:
        parts += _more_parts(chance)
    call.form = parts
    if chance.random() < 0.15:
        call.boundary = chance.choice(["", "é", "a" * 300, "a b", '"', "--"])
    if chance.random() < 0.15:
        body = call.encode_body()
        call.body = body[: chance.randrange(len(body) + 1)]
        call.headers.append(("Content-Type", b"multipart/form-data; boundary=fuzz"))


def spoil_the_length(call: Call, chance: Random) -> None:
    """Announce another length than is sent; the connection's end shows it."""
    length = len(call.encode_body())
    call.length = chance.choice([0, max(0, length - 3), length + 5])


def change_the_kind(call: Call, chance: Random) -> None:
    """Say that the body is something else."""
    kind = chance.choice(
        [
            *(
                b"text/plain",
                b"application/xml",
                b"",
                b"application/json; charset=utf-16",
            ),
            *(
                b"multipart/form-data",
                b"multipart/form-data; boundary=",
                b"a/b; c",
                b"*/*",
            ),
            *(
                b"application/x-www-form-urlencoded",
                b"application/json, text/plain",
                b"\xff",
            ),
            *(
                b"application/problem+json",
                b"APPLICATION/JSON",
                b"multipart/mixed; boundary=x",
            ),
        ]
    )
    call.headers.append(("Content-Type", kind))


def change_a_header(call: Call, chance: Random) -> None:
    """Send a header that means something with a value that means nothing."""
    names = (
        *("Accept", "Accept-Encoding", "Idempotency-Key", "Prefer", "If-None-Match"),
        *("If-Modified-Since", "Range", "Expect", "X-Request-Id", "Origin", "Cookie"),
        *(
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "Content-Encoding",
            "Host",
            "TE",
            "X" * 300,
        ),
        *("Transfer-Encoding", "Upgrade", "Accept-Language", "X-HTTP-Method-Override"),
    )
    values = (
        *BYTES,
        *(b"*", b"*/*", b"text/html", b"application/json;q=0", b"wait=0", b"wait=abc"),
        *(
            b"respond-async, wait=99999999999",
            b'W/"x"',
            b"bytes=0-",
            b"bytes=-1,-2",
            b"gzip",
        ),
        *(
            b"chunked",
            b"k1",
            b'"k1"',
            b"100-continue",
            b"localhost:99999",
            b"a" * 256,
            b"PUT",
        ),
        *(b"q=\xe9", b";;;", b"0", b"-1", b"Thu, 99 Foo 9999 99:99:99 GMT"),
    )
    for _ in range(chance.choice([1, 1, 2])):
        call.headers.append((chance.choice(names), chance.choice(values)))


def change_the_key(call: Call, chance: Random) -> None:
    """Come without a key, with a broken one, or with two."""
    right = dict(call.headers).get("Authorization", b"Bearer x")
    call.headers = [it for it in call.headers if it[0] != "Authorization"]
    given = chance.choice(
        [
            *(None, b"", b"Bearer", b"Bearer ", b"Basic dXNlcjpwdw==", b"bearer x y z"),
            *(
                right + b"x",
                right[:-1],
                right.upper(),
                b"Bearer \xff\xfe",
                b"Bearer " + b"a" * 4000,
            ),
            *(
                right.replace(b"Bearer", b"Token"),
                b"Bearer tp_live_%s_%s" % (b"a" * 8, b"b" * 46),
            ),
        ]
    )
    if given is not None:
        call.headers.append(("Authorization", given))
    if chance.random() < 0.1:
        call.headers.append(("Authorization", right))


def change_the_query(call: Call, chance: Random) -> None:
    """Add, double or spoil a parameter."""
    names = (
        *(
            "limit",
            "cursor",
            "status",
            "priority",
            "created_after",
            "format",
            "metadata.x",
        ),
        *(
            "batch_id",
            "expires",
            "signature",
            "%00",
            "%",
            "colour",
            "limit[]",
            "metadata.",
            "type",
        ),
    )
    values = (
        *(
            "",
            "0",
            "-1",
            "101",
            "1e9",
            "null",
            "%00",
            "%ff",
            "%ud800",
            "%ED%A0%80",
            "x" * 4000,
        ),
        *(
            "2026-01-01",
            "2026-01-01T00:00:00+00:00",
            "9" * 500,
            "AAAA",
            "%2e%2e%2f",
            "[]",
            "%F0%9F%92%A5",
        ),
        *(
            "completed",
            "json",
            "csv",
            "1",
            "day",
            "a&b=c",
            "0" * 32,
            "\u0663",
            "1.5",
            " "[:0],
        ),
    )
    for _ in range(chance.choice([1, 1, 1, 3])):
        call.query.append((chance.choice(names), chance.choice(values)))
    if chance.random() < 0.2:
        call.query.append(call.query[0])


def change_the_path(call: Call, chance: Random) -> None:
    """Ask for something near to what is there."""
    parts = call.path.split("/")
    index = chance.randrange(1, len(parts))
    parts[index] = chance.choice(
        [
            *(
                "",
                ".",
                "..",
                "%2e%2e",
                "%00",
                "%",
                "%zz",
                "%ff",
                "x" * 3000,
                "0",
                "-1",
                "null",
            ),
            *(
                "é",
                "%F0%9F%92%A5",
                parts[index].upper(),
                parts[index] + "/",
                parts[index] + ".json",
            ),
            *(
                parts[index][:-1],
                parts[index] + "%20",
                "00000000-0000-0000-0000-000000000000",
            ),
        ]
    )
    call.path = "/".join(parts)


def change_the_method(call: Call, chance: Random) -> None:
    """Use another method, known or not."""
    call.method = chance.choice(
        [
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
            "OPTIONS",
            "TRACE",
            "BREW",
            "get",
            "PROPFIND",
        ]
    )


ANY: tuple[Mutation, ...] = (
    change_a_header,
    change_the_key,
    change_the_kind,
    change_the_method,
    change_the_path,
    change_the_query,
    spoil_the_json,
    spoil_the_length,
)
OF_FIELDS: tuple[Mutation, ...] = (
    add_a_field,
    drop_a_field,
    replace_a_value,
    replace_a_value,
    replace_a_value,
    replace_the_body,
)


def mutate(call: Call, chance: Random) -> None:
    """Change a call in one to three ways; one in ten stays as it is."""
    if chance.random() < 0.1:
        return
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        if call.form is not None and chance.random() < 0.7:
            spoil_the_form(call, chance)
        elif call.fields is not None and chance.random() < 0.7:
            chance.choice(OF_FIELDS)(call, chance)
        else:
            chance.choice(ANY)(call, chance)
