"""Deepgram's error responses; ``refusals.toml`` has those with a fixed message.

Deepgram uses two JSON formats, and plain text in one place; clients must read all
three.
"""

import dataclasses
import http
import json
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from aiohttp import web


class Envelope(StrEnum):
    """The formats of an error body."""

    ERR = "err"
    CATEGORY = "category"
    TEXT = "text"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error response; `Refused` carries it to the request handler."""

    status: int
    code: str
    message: str
    envelope: Envelope = Envelope.ERR
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """Return the encoded body."""
        if self.envelope is Envelope.TEXT:
            return self.message.encode()
        if self.envelope is Envelope.CATEGORY:
            form = {
                "category": self.code,
                "message": self.message,
                "details": self.message,
                "request_id": request_id,
            }
        else:
            form = {
                "err_code": self.code,
                "err_msg": self.message,
                "request_id": request_id,
            }
        return json.dumps(form).encode()

    def response(self, request_id: str) -> web.Response:
        """Return the response, with its request id header."""
        kind = "text/plain" if self.envelope is Envelope.TEXT else "application/json"
        return web.Response(
            status=self.status,
            body=self.body(request_id),
            content_type=kind,
            headers={"dg-request-id": request_id, **self.headers},
        )


class Refused(Exception):
    """The call is refused with the response in `refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


def _read(name: str) -> Refusal:
    return Refusal(**{"code": name, **_TABLES[name]})


INVALID_AUTH = _read("INVALID_AUTH")
NO_PERMISSION = _read("NO_PERMISSION")
NO_CREDIT = _read("NO_CREDIT")
NO_MODEL_ACCESS = _read("NO_MODEL_ACCESS")
PROJECT_NOT_FOUND = _read("PROJECT_NOT_FOUND")
REQUEST_NOT_FOUND = _read("REQUEST_NOT_FOUND")
SLOW_UPLOAD = _read("SLOW_UPLOAD")
TOO_LARGE = _read("TOO_LARGE")
UNREADABLE = _read("UNREADABLE")
TOO_MANY_REQUESTS = _read("TOO_MANY_REQUESTS")
CORRUPT_AUDIO = _read("CORRUPT_AUDIO")
UNREADABLE_JSON = _read("UNREADABLE_JSON")
NO_SUCH_MODEL = _read("NO_SUCH_MODEL")
INVALID_CALLBACK = _read("INVALID_CALLBACK")
INTERNAL = _read("INTERNAL")
REMOTE_INVALID = _read("REMOTE_INVALID")
REMOTE_REDIRECTS = _read("REMOTE_REDIRECTS")
REMOTE_NOT_PUBLIC = _read("REMOTE_NOT_PUBLIC")
REMOTE_UNRESOLVED = _read("REMOTE_UNRESOLVED")


def invalid_json(details: str) -> Refused:
    """Return the error for valid JSON with invalid content."""
    return Refused(
        Refusal(
            status=400,
            code="INVALID_JSON",
            message=f"Invalid JSON submitted. {details}",
            envelope=Envelope.CATEGORY,
        )
    )


def invalid_query(reason: str) -> Refused:
    """Return the error for a query parameter of the wrong type."""
    message = f"Failed to deserialize query parameters: {reason}"
    return Refused(Refusal(status=400, code="INVALID_QUERY_PARAMETER", message=message))


def bad_request(message: str) -> Refused:
    """Return an error with an invented message: Deepgram documents none."""
    message = f"Bad Request: {message}"
    return Refused(Refusal(status=400, code="Bad Request", message=message))


def remote_status(status: int, reason: str) -> Refused:
    """Return the error for a media URL that responded with an error."""
    side = "client" if status < http.HTTPStatus.INTERNAL_SERVER_ERROR else "server"
    message = (
        f"The remote server hosting the media returned a {side} error: "
        f"{status} {reason}."
    )
    return Refused(dataclasses.replace(REMOTE_INVALID, message=message))


def invalid_uuid(text: str) -> Refused:
    """Return the plain-text error for a project id that is not a UUID."""
    message = f"UUID parsing failed: invalid length: {len(text)}"
    return Refused(
        Refusal(status=404, code="", message=message, envelope=Envelope.TEXT)
    )


_BY_STATUS = {
    refusal.status: refusal
    for refusal in (
        CORRUPT_AUDIO,
        INVALID_AUTH,
        NO_CREDIT,
        NO_MODEL_ACCESS,
        PROJECT_NOT_FOUND,
        SLOW_UPLOAD,
        TOO_LARGE,
        UNREADABLE,
        TOO_MANY_REQUESTS,
        INTERNAL,
    )
}


_SERVER_ERRORS = frozenset({499, 500, 502, 503})


def for_status(status: int) -> Refusal:
    """Return Deepgram's refusal with this status, or an invented one."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status in _SERVER_ERRORS:
        return dataclasses.replace(INTERNAL, status=status)
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown error"
    code = phrase.upper().replace(" ", "_").replace("-", "_")
    return Refusal(status=status, code=code, message=f"{phrase}.")
