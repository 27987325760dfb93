"""Convert problems to OpenAI's errors: status, type, code and envelope. Pure."""

import json
import tomllib
from pathlib import Path
from typing import Any

from django.http import HttpResponse, JsonResponse

TABLES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("openai.toml").read_text()
)
_COPIED_HEADERS = ("Retry-After", "Allow", "WWW-Authenticate")
_UNPROCESSABLE = 422


def translate(problem: HttpResponse) -> HttpResponse:
    """Return a problem (RFC 9457) in OpenAI's envelope.

    Audio that cannot be processed is a 400, as at OpenAI, and never a 422.
    """
    fields: dict[str, Any] = json.loads(problem.content)
    status = problem.status_code
    if status == _UNPROCESSABLE:
        status = 400
    default = (status, TABLES["types"][str(status)[0]], str(fields["code"]))
    status, kind, name = TABLES["problems"].get(fields["code"], default)
    entries: list[dict[str, str]] = fields.get("errors") or [{}]
    parameter = _find_parameter(entries[0])
    message = entries[0].get("detail") or str(fields["detail"])
    body = {
        "message": f"{parameter}: {message}" if parameter else message,
        "type": kind,
        "param": parameter,
        "code": name,
    }
    response = JsonResponse({"error": body}, status=status)
    for header in _COPIED_HEADERS:
        if header in problem.headers:
            response.headers[header] = problem.headers[header]
    return response


def _find_parameter(error: dict[str, str]) -> str | None:
    """Return the name of the request's parameter; ``/options/x`` is what sets x."""
    names = [
        name
        for name in error.get("pointer", "").split("/")
        if name and name != "options"
    ]
    name = names[0] if names else error.get("parameter")
    return TABLES["parameters"].get(name, name) if name else None
