"""What the OpenAPI document says of every operation by itself.

Summaries come from the views' docstrings, tags from the paths; what an answer carries
because of its status (request id, when to come back, an example of the problem) is
added here, so that no view has to say it.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from drf_spectacular.openapi import AutoSchema

from transcribe_platform.api_errors.problem_table import PROBLEMS
from transcribe_platform.api_errors.problems import CONTENT_TYPE

Operation = dict[str, Any]

TAGS = {
    "jobs": "Submit audio, follow it, cancel it, run it again.",
    "transcribe": "One door for every way a transcript can be had.",
    "events": "What happens, as it happens.",
    "batches": "Many jobs with one life.",
    "transcripts": "What came out of a job.",
    "webhook-endpoints": "Where results are sent, and with which secret.",
    "webhook-secret": "What signs the messages to callback URLs.",
    "webhook-deliveries": "What was sent, how it went, and sending it again.",
    "api-keys": "Who may ask for what.",
    "audit-events": "Who did what.",
    "usage": "What was used, and what it may cost.",
    "me": "Whose key this is.",
}
# Which code stands for a status where several have it.
EXAMPLES = {
    "400": "parameter_unknown",
    "401": "key_missing",
    "403": "scope_missing",
    "404": "not_found",
    "409": "job_state_conflict",
    "413": "body_too_large",
    "422": "idempotency_key_reused",
    "502": "upstream_error",
    "503": "service_unavailable",
}
OPERATION_EXAMPLES = {
    ("get_transcript", "409"): "result_not_ready",
    ("submit_job", "409"): "request_in_flight",
}
_DESCRIPTIONS = {
    "200": "Done.",
    "201": "Made.",
    "202": "Accepted; the rest happens later.",
    "204": "Done; there is nothing to say.",
    "206": "The part that was asked for.",
}
# What is made while it is sent, so that nothing stands for it.
_UNTAGGED = {"text/event-stream", "application/x-ndjson", "application/zip"}
_WITH_BODY = {"post", "put", "patch"}
_BODY_REFUSALS = ("411", "413", "415")
_TEXT = {"schema": {"type": "string"}}
_SECONDS = {"schema": {"type": "integer", "minimum": 0}}
EVERY_ANSWER: dict[str, Any] = {
    "X-Request-Id": {
        "description": "Echoed, or made; name it when you ask for help.",
        **_TEXT,
    },
    "RateLimit-Policy": {
        "description": "How many requests (`q`) within how many seconds (`w`).",
        **_TEXT,
    },
    "RateLimit": {
        "description": "How many are left (`r`), and until when (`t` seconds).",
        **_TEXT,
    },
}
_TAG = {"description": "Stands for this answer.", **_TEXT}
_RETRY_AFTER = {"description": "When to come back, in seconds.", **_SECONDS}
HEADERS: dict[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": {"description": "`Bearer`.", **_TEXT}},
    "429": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}


class OperationSchema(AutoSchema):
    """An operation whose summary is the first sentence of its docstring."""

    def get_summary(self) -> str | None:
        """Return the first sentence, without its full stop."""
        described = " ".join(self.get_description().replace("`", "").split())
        return re.split(r"[.;:] |\.$", described)[0] or None


def complete_document(result: dict[str, Any], **_generator: Any) -> dict[str, Any]:
    """Add to each operation what its answers imply; a hook of drf-spectacular."""
    for component in result["components"]["schemas"].values():
        _tidy(component)
    used: set[str] = set()
    for method, operation in operations_of(result):
        used.update(operation["tags"])
        answers = operation["responses"]
        if method in _WITH_BODY:
            for status in _BODY_REFUSALS:
                answers.setdefault(status, copy.deepcopy(answers["400"]))
        if method == "get" and not _UNTAGGED & answers["200"]["content"].keys():
            _let_it_be_unchanged(operation)
        operation["responses"] = dict(sorted(answers.items()))
        for status, answer in operation["responses"].items():
            _complete_answer(operation, status, answer)
    result["tags"] = [
        {"name": name, "description": text}
        for name, text in TAGS.items()
        if name in used
    ]
    return result


def _tidy(component: dict[str, Any]) -> None:
    if "oneOf" in component and "discriminator" not in component:
        component["anyOf"] = component.pop("oneOf")  # one may hold another
    for described in component.get("properties", {}).values():
        _say_what_it_is(described)


def _say_what_it_is(described: dict[str, Any]) -> None:
    """Turn a method's docstring into a noun: "Return the name." into "The name."."""
    told, returns = described.get("description", ""), "Return "
    if told.startswith(returns):
        rest = told.removeprefix(returns)
        described["description"] = rest[:1].upper() + rest[1:]


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, Operation]]:
    """Yield every operation of a document, and its method."""
    for path in document["paths"].values():
        yield from path.items()


def _let_it_be_unchanged(operation: Operation) -> None:
    """Say that what is read is tagged, and need not be sent twice."""
    answers = operation["responses"]
    answers["200"].setdefault("headers", {})["ETag"] = _TAG
    answers["304"] = {"description": "You have it.", "headers": {"ETag": _TAG}}
    asked = {"name": "If-None-Match", "in": "header", **_TEXT}
    asked["description"] = "The `ETag` of the answer that you have."
    operation.setdefault("parameters", []).append(asked)


def _complete_answer(operation: Operation, status: str, answer: Any) -> None:
    headers = answer.setdefault("headers", {})
    headers.update(EVERY_ANSWER)
    headers.update(HEADERS.get(status, {}))
    media_type = answer.get("content", {}).get(CONTENT_TYPE)
    if media_type is not None:
        code = _example_code(operation, status)
        media_type.setdefault(
            "examples", {code: {"value": _example(code, int(status))}}
        )
        answer["description"] = PROBLEMS[code].title + "."
    elif answer["description"] in {"", "No response body"}:
        answer["description"] = _DESCRIPTIONS.get(status, "Done.")


def _example_code(operation: Operation, status: str) -> str:
    chosen = OPERATION_EXAMPLES.get((operation["operationId"], status))
    if chosen is None and status == "400" and "requestBody" in operation:
        chosen = "field_unknown"
    first = [it.code for it in PROBLEMS.values() if str(it.status) == status]
    return chosen or EXAMPLES.get(status) or (first or ["server_error"])[0]


def _example(code: str, status: int) -> dict[str, Any]:
    kind = PROBLEMS[code]
    problem: dict[str, Any] = {
        "type": f"{settings.BASE_URL}/problems/{code}",
        "title": kind.title,
        "status": status,
        "detail": kind.meaning.replace("`", ""),
        "instance": "/v1/jobs",
        "code": code,
        "request_id": "6f1d7f0c2c1a4b5e9d3f8a7b6c5d4e3f",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    where = {
        "parameter_unknown": {"parameter": "colour"},
        "field_unknown": {"pointer": "/colour"},
    }
    if place := where.get(code):
        problem["errors"] = [{**place, "code": code, "detail": kind.title + "."}]
    return problem
