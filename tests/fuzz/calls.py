"""Valid requests to start from: every operation of the OpenAPI document, by example.

A new route is covered by itself: its example is one that a test demands anyway.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

from tests.support.factories import make_wav

Pairs = list[tuple[str, str]]
BOUNDARY = "fuzz"


@dataclass(slots=True, kw_only=True)
class Part:
    """One part of a form."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str | None = None
    headers: bytes = b""


@dataclass(slots=True, kw_only=True)
class Call:
    """A request that can still be changed, piece by piece."""

    operation: str
    method: str
    path: str
    query: Pairs = field(default_factory=list)
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    fields: Any = None
    form: list[Part] | None = None
    body: bytes | None = None
    boundary: str = BOUNDARY
    length: int | None = None

    def encode(self) -> bytes:
        """Return the bytes on the wire; ``body`` stands above fields and form."""
        body = self.encode_body()
        target = self.path
        if self.query:
            target += "?" + "&".join(f"{name}={value}" for name, value in self.query)
        lines = [f"{self.method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")]
        given = {name.lower() for name, _ in self.headers}
        lines += [name.encode() + b": " + value for name, value in self.headers]
        if "host" not in given:
            lines.append(b"Host: localhost")
        if "content-type" not in given and (kind := self._kind()):
            lines.append(b"Content-Type: " + kind)
        length = len(body) if self.length is None else self.length
        if "content-length" not in given and (body or self.method != "GET"):
            lines.append(b"Content-Length: %d" % length)
        return b"\r\n".join([*lines, b"", b""]) + body

    def encode_body(self) -> bytes:
        """Return the body alone."""
        if self.body is not None:
            return self.body
        if self.form is not None:
            return _encode_form(self.form, self.boundary)
        if self.fields is not None:
            return json.dumps(self.fields).encode()
        return b""

    def _kind(self) -> bytes:
        if self.form is not None:
            return f"multipart/form-data; boundary={self.boundary}".encode()
        return b"application/json" if self.fields is not None or self.body else b""


def _encode_form(parts: Sequence[Part], boundary: str) -> bytes:
    sent = b""
    for part in parts:
        sent += f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"'.encode()
        if part.filename is not None:
            sent += f'; filename="{part.filename}"'.encode("utf-8", "surrogatepass")
        if part.content_type:
            sent += f"\r\nContent-Type: {part.content_type}".encode()
        sent += part.headers + b"\r\n\r\n" + part.content + b"\r\n"
    return sent + f"--{boundary}--\r\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What calls are filled with: our keys, and ids by collection."""

    keys: Sequence[str]
    ids: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An operation of the document, ready to be made a call of."""

    operation: str
    method: str
    path: str
    parameters: Sequence[Mapping[str, Any]]
    examples: Sequence[Any]
    takes_form: bool


def read_templates(document: Mapping[str, Any]) -> list[Template]:
    """Return every operation, and the addresses that are not in the document."""
    found = [
        Template(
            operation=operation["operationId"],
            method=method.upper(),
            path=path,
            parameters=operation.get("parameters", []),
            examples=_examples(operation, "application/json"),
            takes_form=bool(_examples(operation, "multipart/form-data")),
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    plain = ("/v1/openapi.json", "/docs", "/problems/not_found", "/health/ready")
    return [*found, *map(_plain, plain)]


def _plain(path: str) -> Template:
    return Template(
        operation=path,
        method="GET",
        path=path,
        parameters=[],
        examples=[],
        takes_form=False,
    )


def _examples(operation: Mapping[str, Any], media_type: str) -> list[Any]:
    content = operation.get("requestBody", {}).get("content", {}).get(media_type, {})
    return [example["value"] for example in content.get("examples", {}).values()]


def make_call(template: Template, pool: Pool, chance: Random) -> Call:
    """Return a valid request of the operation, or nearly: its id may be gone."""
    call = Call(
        operation=template.operation,
        method=template.method,
        path=_fill(template.path, pool, chance),
        headers=[("Authorization", b"Bearer " + chance.choice(pool.keys).encode())],
    )
    for parameter in template.parameters:
        if parameter["in"] == "query" and chance.random() < 0.2:
            call.query.append((parameter["name"], _value(parameter["schema"], chance)))
        if parameter["in"] == "header" and chance.random() < 0.3:
            key = f"key-{chance.randrange(50)}"
            call.headers.append((parameter["name"], key.encode()))
    if template.takes_form and chance.random() < 0.4:
        call.form = _upload(chance)
    elif template.examples:
        call.fields = json.loads(json.dumps(chance.choice(template.examples)))
    _wait_briefly(call)
    return call


def _wait_briefly(call: Call) -> None:
    """Let the front door answer soon: nobody works on what it takes in here."""
    if call.operation != "transcribe":
        return
    if isinstance(call.fields, dict):
        call.fields["wait"] = 1
    if call.form is not None:
        call.form.append(Part(name="wait", content=b"1"))


def _fill(path: str, pool: Pool, chance: Random) -> str:
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part.startswith("{"):
            collection = parts[index - 1]
            known = pool.ids.get(collection) or pool.ids["jobs"]
            parts[index] = chance.choice(known)
    return "/".join(parts)


def _value(schema: Mapping[str, Any], chance: Random) -> str:
    if choices := schema.get("enum"):
        return str(chance.choice(choices))
    if schema.get("type") == "integer":
        return str(chance.randint(1, 100))
    return quote(chance.choice(["2026-01-31T12:00:00Z", "x", "7"]))


def _upload(chance: Random) -> list[Part]:
    audio = make_wav(chance.choice([0.1, 0.5]))
    parts = [
        Part(name="file", content=audio, filename="a.wav", content_type="audio/wav")
    ]
    if chance.random() < 0.5:
        parts.append(Part(name="metadata", content=b'{"order": "7"}'))
    if chance.random() < 0.5:
        parts.append(Part(name="priority", content=b"high"))
    return parts
