"""Convert problems to Deepgram's errors: status, code and envelope. Pure.

A problem without a counterpart in ``deepgram.toml`` keeps its status, and its code in
upper case.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

from django.http import HttpResponse, JsonResponse

from transcripts.formats.deepgram_response import UNREADABLE

TABLES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("deepgram.toml").read_text()
)
_COPIED_HEADERS = ("Retry-After", "Allow", "WWW-Authenticate")


class DeepgramError(Exception):
    """An error that only Deepgram's API has."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def build(self, *, request_id: str) -> HttpResponse:
        """Return the response."""
        return build_error(self.status, self.code, self.message, request_id=request_id)


def translate(problem: HttpResponse) -> HttpResponse:
    """Return a problem (RFC 9457) in Deepgram's envelope."""
    fields: dict[str, Any] = json.loads(problem.content)
    code = str(fields["code"])
    status = problem.status_code
    name = TABLES["statuses"].get(str(status), code.upper())
    status, name = TABLES["problems"].get(code, (status, name))
    message = str(fields["detail"])
    if code.startswith("audio_"):  # rejected before a call to Deepgram
        status, name, message = 400, UNREADABLE[1], f"{UNREADABLE[0]}. {message}"
    for entry in fields.get("errors", []):
        pointer = entry.get("pointer", "").removeprefix("/options/")
        if parameter := entry.get("parameter") or pointer:
            message = f"{parameter}: {message}"
    response = build_error(status, name, message, request_id=str(fields["request_id"]))
    for header in _COPIED_HEADERS:
        if header in problem.headers:
            response.headers[header] = problem.headers[header]
    return response


def build_error(
    status: int, code: str, message: str, *, request_id: str
) -> HttpResponse:
    """Return an error in Deepgram's envelope."""
    body = {"err_code": code, "err_msg": message, "request_id": request_id}
    response = JsonResponse(body, status=status)
    response.headers["dg-request-id"] = request_id
    response.headers["dg-error"] = code
    return response
