"""Say our errors as Deepgram says its own: its statuses, codes and envelope. Pure.

https://developers.deepgram.com/docs/errors. What has no counterpart there keeps our
status and says our code in capitals.
"""

import json
from typing import Any

from django.http import HttpResponse, JsonResponse

from transcripts.formats.deepgram_response import UNREADABLE

# By our code, else by our status: Deepgram's status and code.
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
_KEPT_HEADERS = ("Retry-After", "Allow", "WWW-Authenticate")


def translate(problem: HttpResponse) -> HttpResponse:
    """Return a problem of ours (RFC 9457) in Deepgram's envelope."""
    told: dict[str, Any] = json.loads(problem.content)
    code = str(told["code"])
    status, name = _BY_CODE.get(code) or _BY_STATUS.get(
        problem.status_code, (problem.status_code, code.upper())
    )
    message = str(told["detail"])
    if code.startswith("audio_"):  # examined here, so nothing was spent
        status, name, message = 400, UNREADABLE[1], f"{UNREADABLE[0]}. {message}"
    for entry in told.get("errors", []):
        if parameter := entry.get("parameter") or entry.get("pointer"):
            message = f"{parameter}: {message}"
    answer = refuse(status, name, message, request_id=str(told["request_id"]))
    for header in _KEPT_HEADERS:
        if header in problem.headers:
            answer.headers[header] = problem.headers[header]
    return answer


def refuse(status: int, code: str, message: str, *, request_id: str) -> HttpResponse:
    """Return an error in Deepgram's envelope."""
    body = {"err_code": code, "err_msg": message, "request_id": request_id}
    answer = JsonResponse(body, status=status)
    answer.headers["dg-request-id"] = request_id
    answer.headers["dg-error"] = code
    return answer
