"""Describe endpoints in the OpenAPI document."""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import serializers

from jobs.rest.idempotency import HEADER
from jobs.rest.pagination import DEFAULT_LIMIT, MAX_LIMIT
from jobs.rest.serializers import PageOutput, format_datetime

JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"
EXAMPLES = "examples.json"
_COMMON_PROBLEMS = {400, 401, 403, 406, 429, 503}
_KEY_PROBLEMS = (409, 422)
_View = TypeVar("_View", bound=Callable[..., Any])


class ProblemEntry(serializers.Serializer[Any]):
    """One error in the request and its location."""

    line = serializers.IntegerField(required=False)
    pointer = serializers.CharField(required=False)
    parameter = serializers.CharField(required=False)
    header = serializers.CharField(required=False)
    code = serializers.CharField()
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """An error (RFC 9457). ``code`` is stable; ``title`` and ``detail`` may change."""

    type = serializers.URLField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()
    trace_id = serializers.CharField()
    errors = ProblemEntry(many=True, required=False)  # type: ignore[assignment]
    error_count = serializers.IntegerField(required=False)


def document(
    operation_id: str,
    responses: Any,
    *,
    problems: Sequence[int] = (),
    parameters: Sequence[OpenApiParameter] = (),
    request: Any = None,
    **more: Any,
) -> Callable[[_View], _View]:
    """Describe the operation of a view's method; its docstring is the API's text.

    ``responses`` is the serializer of a 200, or a mapping: a key is a status, for JSON,
    or a status and a media type. ``problems`` are the statuses of its errors besides
    those that follow from its method, path and parameters. Its examples
    are in ``examples.json`` beside the view. ``ApiView`` rejects query parameters that
    are not in ``parameters``; ``{key}`` in a name stands for any text.
    """
    if not isinstance(responses, Mapping):
        responses = {200: responses}
    by_type = {
        key if isinstance(key, tuple) or body is None else (key, JSON_TYPE): body
        for key, body in responses.items()
    }
    problem = OpenApiResponse(Problem, "The error.")
    of_key = _KEY_PROBLEMS if IDEMPOTENCY_PARAMETER in parameters else ()
    for status in sorted(_COMMON_PROBLEMS.union(problems, of_key)):
        by_type[status, PROBLEM_TYPE] = problem

    def describe(view: _View) -> _View:
        view.query_parameters = [  # type: ignore[attr-defined]
            each.name.partition("{")[0]
            for each in parameters
            if each.location == OpenApiParameter.QUERY
        ]
        return extend_schema(
            operation_id,
            request=request,
            parameters=list(parameters),
            responses=by_type,
            examples=read_examples(inspect.getfile(view), operation_id),
            **more,
        )(view)

    return describe


def read_examples(module: str, name: str) -> list[OpenApiExample]:
    """Return the examples of this name in ``examples.json`` beside the module."""
    rows = _read_examples(Path(module).with_name(EXAMPLES)).get(name, ())
    return list(map(_build_example, rows))


@cache
def _read_examples(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the examples by operation.

    A list holds the examples of an operation. An object is a value to which others
    refer: ``{"$like": "job", "status": "canceled"}`` is the job with another status.
    ``{"$days_ago": 1}`` is a time relative to the process's start.
    """
    values = json.loads(path.read_text())
    return {
        name: _resolve(value, values)
        for name, value in values.items()
        if isinstance(value, list)
    }


def _resolve(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolve(each, values) for each in value]
    if not isinstance(value, dict):
        return value
    if days := value.get("$days_ago"):
        return format_datetime(timezone.now() - timedelta(days=days))
    fields = {name: _resolve(each, values) for name, each in value.items()}
    if base := fields.pop("$like", None):
        return {**_resolve(values[base], values), **fields}
    return fields


def _build_example(fields: Mapping[str, Any]) -> OpenApiExample:
    """Return the example of a ``request``, ``response`` or webhook's ``message``."""
    (kind,) = {"request", "response", "message"} & fields.keys()
    return OpenApiExample(
        fields.get("name", kind.capitalize()),
        fields[kind],
        request_only=kind == "request",
        response_only=kind == "response",
        media_type=fields.get("type", JSON_TYPE),
        status_codes=[str(fields["status"])] if "status" in fields else None,
    )


def page(row: type[serializers.BaseSerializer[Any]], text: str) -> Any:
    """Return the serializer of one page of a list; ``text`` describes it.

    The page of a ``JobOutput`` is a ``JobPage``.
    """
    name = row.__name__.removesuffix("Output") + "Page"
    return type(name, (PageOutput,), {"__doc__": text, "data": row(many=True)})


def query_parameter(
    name: str, type_: Any = OpenApiTypes.STR, **more: Any
) -> OpenApiParameter:
    """Return a query parameter."""
    return OpenApiParameter(name, type_, OpenApiParameter.QUERY, **more)


def short_text(max_length: int) -> dict[str, Any]:
    """Return the schema of a text parameter."""
    return {"type": "string", "minLength": 1, "maxLength": max_length}


def comma_separated(names: Iterable[str]) -> dict[str, Any]:
    """Return the schema of a comma-separated list of these names, without repeats."""
    name = f"(?:{'|'.join(map(re.escape, names))})"
    pattern = rf"^(?!(?:.*,)?([^,]+),(?:.*,)?\1(?:,|$)){name}(?:,{name})*$"
    return {"type": "string", "pattern": pattern}


def header(
    name: str, description: str, *statuses: int, pattern: str = ""
) -> OpenApiParameter:
    """Return a header of the request, or of the responses with these statuses."""
    schema = {"type": "string", "pattern": pattern} if pattern else OpenApiTypes.STR
    return OpenApiParameter(
        name,
        schema,
        OpenApiParameter.HEADER,
        description=description,
        response=list(statuses) or False,
    )


PAGE_PARAMETERS = [
    query_parameter(
        "cursor",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]+={0,2}$"},
        description="`next_cursor` of the previous page.",
    ),
    query_parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
        default=DEFAULT_LIMIT,
    ),
]
IDEMPOTENCY_PARAMETER = header(
    HEADER,
    "1 to 255 visible ASCII characters. Repeats return the first response.",
    pattern='^(?!""$)[!-~]{1,255}$',
)
ACCEPTED_HEADERS = [
    header("Location", "The URL of the new resource.", 202),
    header("Retry-After", "Seconds to wait before reading it.", 202),
    header("Idempotency-Replayed", "`true` if this repeats an earlier response.", 202),
]
