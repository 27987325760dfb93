"""Complete the OpenAPI document with what all operations have in common.

Summaries and descriptions come from the docstrings of the views' methods, tags from the
paths. Response headers and example problems are added here by status.
"""

import copy
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from drf_spectacular.openapi import AutoSchema

from transcribe_platform.api_errors.problem_table import PROBLEMS
from transcribe_platform.api_errors.problems import CONTENT_TYPE
from transcribe_platform.openapi.extensions import NULLABLE

Operation = dict[str, Any]

_TABLES = tomllib.loads(Path(__file__).with_name("document.toml").read_text("utf-8"))
_FIELDS = tomllib.loads(Path(__file__).with_name("fields.toml").read_text("utf-8"))
_FORM = "multipart/form-data"
# Generated while it is sent, so it has no ETag.
_WITHOUT_ETAG = {"text/event-stream", "application/x-ndjson", "application/zip"}
_WITH_BODY = {"post", "put", "patch"}
_BODY_ERRORS = ("411", "413", "415")
_TEXT = {"schema": {"type": "string"}}
_ETAG = {"description": "Version of the response, for `If-None-Match`.", **_TEXT}


class OperationSchema(AutoSchema):
    """An operation with the first sentence of its docstring as its summary."""

    def get_summary(self) -> str:
        """Return the first sentence without its full stop."""
        return _split_docstring(super().get_description())[0]

    def get_description(self) -> str:  # type: ignore[override]  # of drf-spectacular
        """Return the rest of the docstring, or its only sentence."""
        docstring = super().get_description()
        return _split_docstring(docstring)[1] or docstring


def _split_docstring(text: str) -> tuple[str, str]:
    summary, *rest = re.split(r"\.(?:\s+|$)", text.strip(), maxsplit=1)
    return summary, "".join(rest)


def complete_document(result: dict[str, Any], **_generator: Any) -> dict[str, Any]:
    """Add common responses, headers and examples; a drf-spectacular hook."""
    for name, component in result["components"]["schemas"].items():
        _tidy(component)
        for field, schema in component.get("properties", {}).items():
            if schema.pop(NULLABLE, False):
                component["properties"][field] = _allow_null(schema)
        _describe_fields(name, component)
    _separate_forms(result)
    used: set[str] = set()
    for path, method, operation in iterate_operations(result):
        used.update(operation["tags"])
        _describe_parameters(operation)
        answers = operation["responses"]
        not_found = ("404",) if "{" in path else ()
        body_errors = _BODY_ERRORS if method in _WITH_BODY else ()
        for status in (*not_found, *body_errors):
            answers.setdefault(status, copy.deepcopy(answers["400"]))
        if method == "get" and not _WITHOUT_ETAG & answers["200"]["content"].keys():
            _add_etag(operation)
        operation["responses"] = dict(sorted(answers.items()))
        for status, answer in operation["responses"].items():
            _complete_answer(operation, status, answer)
    result["tags"] = [
        {"name": name, "description": text}
        for name, text in _TABLES["tags"].items()
        if name in used
    ]
    return result


def _tidy(component: dict[str, Any]) -> None:
    if "oneOf" in component and "discriminator" not in component:
        component["anyOf"] = component.pop("oneOf")  # schemas overlap
    for field in component.get("properties", {}).values():
        # The docstring of a method: "Return the name." becomes "The name."
        text = field.get("description", "")
        if text.startswith("Return "):
            text = text.removeprefix("Return ")
            field["description"] = text[:1].upper() + text[1:]


def _describe_fields(name: str, component: dict[str, Any]) -> None:
    """Add the descriptions of the table to the fields that have none."""
    texts = _FIELDS["fields"]
    for field, schema in component.get("properties", {}).items():
        text = texts.get(f"{name}.{field}") or texts.get(field)
        if "description" in schema or text is None:
            continue
        if "$ref" in schema:  # allows siblings, but not every generator reads them
            component["properties"][field] = {"allOf": [schema], "description": text}
        else:
            schema["description"] = text


def _allow_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with null as another value."""
    if isinstance(kind := schema.get("type"), str):
        return {**schema, "type": [kind, "null"]}
    text = {key: schema[key] for key in ("description",) if key in schema}
    rest = {key: value for key, value in schema.items() if key not in text}
    (inner,) = rest["allOf"] if len(rest.get("allOf", ())) == 1 else (rest,)
    return {"anyOf": [inner, {"type": "null"}], **text}


def _describe_parameters(operation: Operation) -> None:
    for parameter in operation.get("parameters", []):
        text = _FIELDS["parameters"].get(parameter["name"])
        if text is not None:
            parameter.setdefault("description", text)


def _separate_forms(document: dict[str, Any]) -> None:
    """Give a body of JSON or a form two schemas: only a form has a file.

    A form's fields are text; those with JSON text are declared as such.
    """
    schemas = document["components"]["schemas"]
    for name, table in _TABLES["forms"].items():
        schemas[table["form"]] = _build_form(schemas[name])
        properties = schemas[name]["properties"]
        del properties["file"]
        for field in table.get("required", ()):
            schemas[name].setdefault("required", []).append(field)
            properties[field] = _forbid_null(properties[field])
    for _path, _method, operation in iterate_operations(document):
        _complete_body(operation.get("requestBody", {}), schemas)


def _build_form(body: dict[str, Any]) -> dict[str, Any]:
    properties = {
        field: _forbid_null(schema)
        for field, schema in body["properties"].items()
        if field != "audio_url"
    }
    text = "A form with a file. " + body["description"]
    form = {"properties": properties, "required": ["file"], "description": text}
    return {**copy.deepcopy(body), **copy.deepcopy(form)}


def _complete_body(body: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Require a body if it is needed; describe the parts of a form."""
    contents = body.get("content", {})
    of_json = contents.get("application/json", {}).get("schema", {})
    if _FORM in contents or schemas.get(_name(of_json), {}).get("required"):
        body["required"] = True
    if (form := contents.get(_FORM)) is None:
        return
    component = _name(form["schema"])
    component = _TABLES["forms"].get(component, {}).get("form", component)
    form["schema"] = {"$ref": f"#/components/schemas/{component}"}
    form["encoding"] = {
        field: {"contentType": "application/json"}
        for field, schema in schemas[component]["properties"].items()
        if _is_json(schema, schemas)
    }


def _name(reference: dict[str, Any]) -> str:
    """Return the name of the component that a schema refers to."""
    return str(reference.get("$ref", "")).rpartition("/")[2]


def _is_json(schema: dict[str, Any], schemas: dict[str, Any]) -> bool:
    for reference in (schema, *schema.get("allOf", ())):
        if "$ref" in reference:
            schema = schemas[_name(reference)]
    return schema.get("type") in ("object", "array")


def _forbid_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without null, which a form cannot express."""
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return {**schema, "type": next(kind for kind in kinds if kind != "null")}
    if len(choices := schema.get("anyOf", [])) > 1 and {"type": "null"} in choices:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return {**choices[0], **rest}
    return schema


def iterate_operations(
    document: dict[str, Any],
) -> Iterator[tuple[str, str, Operation]]:
    """Yield the path, the method and the operation of each route."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _add_etag(operation: Operation) -> None:
    answers = operation["responses"]
    answers["200"].setdefault("headers", {})["ETag"] = _ETAG
    answers["304"] = {"description": "Not modified.", "headers": {"ETag": _ETAG}}
    parameter = {"name": "If-None-Match", "in": "header", **_TEXT}
    parameter["description"] = "The `ETag` of the response you already have."
    operation.setdefault("parameters", []).append(parameter)


def _complete_answer(operation: Operation, status: str, answer: Any) -> None:
    headers = answer.setdefault("headers", {})
    headers.update(_TABLES["headers"]["all"])
    headers.update(_TABLES["headers"].get(status, {}))
    media_type = answer.get("content", {}).get(CONTENT_TYPE)
    if media_type is not None:
        code = _example_code(operation, status)
        media_type.setdefault(
            "examples", {code: {"value": _example(code, int(status))}}
        )
        answer["description"] = PROBLEMS[code].title + "."
    elif answer["description"] in {"", "No response body"}:
        answer["description"] = _TABLES["descriptions"].get(status, "OK.")


def _example_code(operation: Operation, status: str) -> str:
    by_operation = _TABLES["codes_of_operations"].get(operation["operationId"], {})
    chosen: str | None = by_operation.get(status)
    if chosen is None and status == "400" and "requestBody" in operation:
        chosen = "field_unknown"
    first = [it.code for it in PROBLEMS.values() if str(it.status) == status]
    return chosen or _TABLES["codes"].get(status) or (first or ["server_error"])[0]


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
    locations = {
        "parameter_unknown": {"parameter": "color"},
        "field_unknown": {"pointer": "/color"},
    }
    if location := locations.get(code):
        problem["errors"] = [{**location, "code": code, "detail": kind.title + "."}]
    return problem
