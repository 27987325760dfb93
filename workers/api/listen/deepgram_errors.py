"""Convert problems to Deepgram's errors: status, code and envelope. Pure.

https://developers.deepgram.com/docs/errors. A problem without a counterpart keeps its
status, and its code in upper case.
"""

import json
from typing import Any

from django.http import HttpResponse, JsonResponse

from transcripts.formats.deepgram_response import UNREADABLE

# Deepgram's status and code by problem code, else by status.
_BY_CODE: dict[str, tuple[int, str]] = {
    "scope_missing": (403, "INSUFFICIENT_PERMISSIONS"),
    "address_not_allowed": (403, "INSUFFICIENT_PERMISSIONS"),
    "url_not_allowed": (400, "REMOTE_CONTENT_ERROR"),
    "url_invalid": (400, "Bad Request"),
    "json_invalid": (400, "Bad Request"),
    "field_required": (400, "Bad Request"),
    "body_truncated": (422, "ASR_UNPROCESSABLE_ENTITY"),
    "option_unknown": (400, "INVALID_QUERY_PARAMETER"),
    "option_invalid": (400, "INVALID_QUERY_PARAMETER"),
    "option_refused": (400, "INVALID_QUERY_PARAMETER"),
    "option_conflict": (400, "INVALID_QUERY_PARAMETER"),
    "parameter_invalid": (400, "INVALID_QUERY_PARAMETER"),
}
_BY_STATUS: dict[int, tuple[int, str]] = {
    400: (400, "Bad Request"),
    401: (401, "INVALID_AUTH"),
    403: (403, "INSUFFICIENT_PERMISSIONS"),
    404: (404, "NOT_FOUND"),
    405: (405, "METHOD_NOT_ALLOWED"),
    413: (413, "PAYLOAD_TOO_LARGE"),
    415: (415, "UNSUPPORTED_MEDIA_TYPE"),
    429: (429, "TOO_MANY_REQUESTS"),
    500: (500, "INTERNAL_SERVER_ERROR"),
    503: (503, "SERVICE_UNAVAILABLE"),
}
_COPIED_HEADERS = ("Retry-After", "Allow", "WWW-Authenticate")


def translate(problem: HttpResponse) -> HttpResponse:
    """Return a problem (RFC 9457) in Deepgram's envelope."""
    fields: dict[str, Any] = json.loads(problem.content)
    code = str(fields["code"])
    status, name = _BY_CODE.get(code) or _BY_STATUS.get(
        problem.status_code, (problem.status_code, code.upper())
    )
    message = str(fields["detail"])
    if code.startswith("audio_"):  # rejected before a call to Deepgram
        status, name, message = 400, UNREADABLE[1], f"{UNREADABLE[0]}. {message}"
    for entry in fields.get("errors", []):
        if parameter := entry.get("parameter") or entry.get("pointer"):
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
