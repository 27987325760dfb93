"""Deepgram's error responses: status, code and message, verbatim.

Deepgram uses two JSON formats, and plain text in one place; clients must read all
three. Messages marked "invented" are not documented by Deepgram.
"""

import dataclasses
import http
import json
from collections.abc import Mapping
from enum import StrEnum

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


INVALID_AUTH = Refusal(status=401, code="INVALID_AUTH", message="Invalid credentials.")
NO_PERMISSION = Refusal(
    status=401,
    code="INSUFFICIENT_PERMISSIONS",
    message="User does not have sufficient permissions.",
)
NO_CREDIT = Refusal(
    status=402,
    code="ASR_PAYMENT_REQUIRED",
    message=(
        "Project does not have enough credits for an ASR request "
        "and does not have an overage agreement."
    ),
)
NO_MODEL_ACCESS = Refusal(
    status=403,
    code="INSUFFICIENT_PERMISSIONS",
    message="Project does not have access to the requested model.",
)
PROJECT_NOT_FOUND = Refusal(
    status=404, code="PROJECT_NOT_FOUND", message="Project not found."
)
REQUEST_NOT_FOUND = Refusal(  # invented
    status=404, code="REQUEST_NOT_FOUND", message="Request not found."
)
SLOW_UPLOAD = Refusal(status=408, code="SLOW_UPLOAD", message="Request upload timeout.")
TOO_LARGE = Refusal(  # invented
    status=413, code="PAYLOAD_TOO_LARGE", message="Payload too large."
)
UNREADABLE = Refusal(
    status=422,
    code="ASR_UNPROCESSABLE_ENTITY",
    message="Unable to read the entire client request.",
)
TOO_MANY_REQUESTS = Refusal(
    status=429,
    code="TOO_MANY_REQUESTS",
    message="Too many requests. Please try again later",
)
CORRUPT_AUDIO = Refusal(
    status=400,
    code="Bad Request",
    message="Bad Request: failed to process audio: corrupt or unsupported data",
)
UNREADABLE_JSON = Refusal(
    status=400,
    code="Bad Request",
    message=(
        "Content-type was application/json, but we could not process the JSON payload."
    ),
)
NO_SUCH_MODEL = Refusal(
    status=400,
    code="Bad Request",
    message="Bad Request: No such model/language/tier combination found.",
)
INVALID_CALLBACK = Refusal(
    status=400, code="Bad Request", message="Invalid callback url."
)
INTERNAL = Refusal(  # invented
    status=500, code="INTERNAL_SERVER_ERROR", message="Internal server error."
)


def invalid_json(details: str) -> Refusal:
    """Return the refusal of valid JSON with invalid content."""
    return Refusal(
        status=400,
        code="INVALID_JSON",
        message=f"Invalid JSON submitted. {details}",
        envelope=Envelope.CATEGORY,
    )


def invalid_query(reason: str) -> Refusal:
    """Return the refusal of a query parameter of the wrong type."""
    return Refusal(
        status=400,
        code="INVALID_QUERY_PARAMETER",
        message=f"Failed to deserialize query parameters: {reason}",
    )


def bad_request(message: str) -> Refusal:
    """Return a refusal with an invented message: Deepgram documents none."""
    return Refusal(status=400, code="Bad Request", message=f"Bad Request: {message}")


def remote_content(message: str) -> Refusal:
    """Return the refusal of a media URL."""
    return Refusal(status=400, code="REMOTE_CONTENT_ERROR", message=message)


REMOTE_INVALID = remote_content(
    "The remote server hosting the media failed to return valid data."
)
REMOTE_REDIRECTS = remote_content(
    "The remote server hosting the media returned too many redirects."
)
REMOTE_NOT_PUBLIC = remote_content("URL for media download must be publicly routable.")
REMOTE_UNRESOLVED = remote_content(
    "Could not determine if URL for media download is publicly routable."
)


def remote_status(status: int, reason: str) -> Refusal:
    """Return the refusal of a media URL that responded with an error."""
    side = "client" if status < http.HTTPStatus.INTERNAL_SERVER_ERROR else "server"
    return remote_content(
        f"The remote server hosting the media returned a {side} error: "
        f"{status} {reason}."
    )


def invalid_uuid(text: str) -> Refusal:
    """Return the plain-text refusal of a project id that is not a UUID."""
    return Refusal(
        status=404,
        code="",
        message=f"UUID parsing failed: invalid length: {len(text)}",
        envelope=Envelope.TEXT,
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
