"""Convert the OpenAPI document into the groups and rows of the page at /docs.

Also holds the template filters for the Markdown subset of the API texts.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

from transcribe_platform.api_errors.problems import CONTENT_TYPE

Schema = dict[str, Any]
register = template.Library()

MAX_DEPTH = 3
_CONSTRAINTS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "maxProperties": "at most {} keys",
    "default": "default {}",
}
# Raw HTML is escaped, because the preset has no rule for it.
_MARKDOWN = MarkdownIt("zero").enable(["backticks", "heading", "link", "list"])


@register.filter("text")
def format_text(text: str) -> SafeString:
    """Return paragraphs, lists, headings, `code` and links as escaped HTML."""
    html: str = _MARKDOWN.render(str(text))
    return mark_safe(html)  # noqa: S308  escaped by MarkdownIt


@register.filter("line")
def format_line(text: str) -> SafeString:
    """Return one line with `code` and [links](/path) as escaped HTML."""
    html: str = _MARKDOWN.renderInline(str(text))
    return mark_safe(html)  # noqa: S308  escaped by MarkdownIt


def read_groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of the document by tag, followed by its webhooks."""
    groups: dict[str, dict[str, Any]] = {
        tag["name"]: {**tag, "operations": []} for tag in document["tags"]
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shown = _read_operation(document, operation)
            shown |= {"method": method.upper(), "path": path}
            shown["curl"] = _build_curl(shown, operation)
            groups[operation["tags"][0]]["operations"].append(shown)
    if webhooks := document.get("webhooks"):
        groups["webhooks"] = {
            "name": "webhooks",
            "description": "Messages that the platform sends to your endpoints.",
            "operations": [
                {
                    **_read_operation(document, methods["post"]),
                    "method": "POST",
                    "path": name,
                    "is_webhook": True,
                }
                for name, methods in webhooks.items()
            ],
        }
    return list(groups.values())


def _read_operation(document: dict[str, Any], operation: Schema) -> dict[str, Any]:
    responses = operation["responses"].items()
    summary = operation["summary"].rstrip(".")
    description = operation.get("description", "")
    return {
        "id": operation["operationId"],
        "summary": summary,
        "description": "" if description.rstrip(".") == summary else description,
        "parameters": [
            _read_parameter(document, parameter)
            for parameter in operation.get("parameters", [])
        ],
        "bodies": _read_bodies(document, operation.get("requestBody", {})),
        "responses": [
            {
                "status": status,
                "description": response["description"],
                "headers": response.get("headers", {}),
                "bodies": _read_bodies(document, response),
            }
            for status, response in responses
            if status < "400"
        ],
        "problems": [
            {
                "status": status,
                "codes": _read_codes(response),
                "description": response["description"],
            }
            for status, response in responses
            if status >= "400"
        ],
    }


def _read_parameter(document: dict[str, Any], parameter: Schema) -> dict[str, Any]:
    name, schema = parameter["name"], parameter["schema"]
    row = _read_field(document, name, schema, required=parameter.get("required", False))
    notes = _describe(schema, parameter.get("description", ""))
    return row | {"in": parameter["in"], "notes": notes}


def _read_codes(response: Schema) -> list[str]:
    return list(response.get("content", {}).get(CONTENT_TYPE, {}).get("examples", {}))


def _read_bodies(document: dict[str, Any], holder: Schema) -> list[dict[str, Any]]:
    return [
        {
            "media_type": media_type,
            "rows": list(_read_fields(document, content.get("schema", {}), "", 0)),
            "examples": [
                _format_example(example.get("value"))
                for example in content.get("examples", {}).values()
            ],
        }
        for media_type, content in holder.get("content", {}).items()
    ]


def _format_example(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False)


def _resolve(document: dict[str, Any], schema: Schema) -> Schema:
    """Follow references, also through an ``allOf`` that only adds a description."""
    if reference := schema.get("$ref"):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        return _resolve(document, target)
    for keyword in ("allOf", "oneOf", "anyOf"):
        inner = [it for it in schema.get(keyword, []) if it.get("type") != "null"]
        if len(inner) == 1:
            own = {key: value for key, value in schema.items() if key != keyword}
            return {**_resolve(document, inner[0]), **own}
    return schema


def _read_fields(
    document: dict[str, Any], schema: Schema, parent: str, depth: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each field, followed by the fields that it contains."""
    resolved = _resolve(document, schema)
    if resolved.get("type") == "array":
        items = resolved.get("items", {})
        yield from _read_fields(document, items, f"{parent}[]", depth)
    for name, inner in resolved.get("properties", {}).items():
        path = f"{parent}.{name}" if parent else name
        required = name in resolved.get("required", [])
        yield _read_field(document, path, inner, required=required)
        if depth < MAX_DEPTH:
            yield from _read_fields(document, inner, path, depth + 1)


def _read_field(
    document: dict[str, Any], name: str, schema: Schema, *, required: bool
) -> dict[str, Any]:
    resolved = _resolve(document, schema)
    description = schema.get("description") or resolved.get("description", "")
    return {
        "name": name,
        "type": _name_type(document, resolved),
        "required": required,
        "notes": _describe(resolved, description),
    }


def _name_type(document: dict[str, Any], schema: Schema) -> str:
    types = schema.get("type", "any")
    names = [types] if isinstance(types, str) else list(types)
    if schema.get("type") == "array":
        items = _resolve(document, schema.get("items", {}))
        return f"array of {_name_type(document, items)}"
    if value_format := schema.get("format"):
        names[0] = f"{names[0]} ({value_format})"
    return " or ".join(names)


def _describe(schema: Schema, description: str) -> str:
    """Return the description, the allowed values and the constraints of a field."""
    values = [it for it in schema.get("enum", []) if it is not None]
    notes = [description.strip()] if description else []
    if values:
        notes.append("One of " + ", ".join(f"`{it}`" for it in values) + ".")
    constraints = [
        text.format(schema[key]) for key, text in _CONSTRAINTS.items() if key in schema
    ]
    if constraints:
        notes.append(", ".join(constraints).capitalize() + ".")
    return " ".join(notes)


def _build_curl(shown: dict[str, Any], operation: Schema) -> str:
    """Return a curl command with the first JSON example as its body."""
    words = ["curl", "-s", f'"$API{shown["path"]}"', '-H "Authorization: Bearer $KEY"']
    method = shown["method"]
    if method not in {"GET", "POST"} or (method == "POST" and not shown["bodies"]):
        words.insert(2, f"-X {method}")
    content = operation.get("requestBody", {}).get("content", {})
    for example in content.get("application/json", {}).get("examples", {}).values():
        body = json.dumps(example["value"], ensure_ascii=False)
        words += ["\\\n  -H 'Content-Type: application/json'"]
        words += [f"\\\n  -d {shlex.quote(body)}"]
        break
    return " ".join(words)
