"""Turn the OpenAPI document into what the pages at /docs show. Pure.

Nothing here is HTML but what ``format_text`` returns, which escapes all it is given.
"""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from transcribe_platform.api_errors.problems import CONTENT_TYPE

Schema = dict[str, Any]

MAX_DEPTH = 3
_LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "maxProperties": "at most {} keys",
    "default": "default {}",
}
_CODE = re.compile(
    r"(?P<ticks>`{1,2}+)(?P<code>[^`\n]++)(?P=ticks)"
    r"|\[(?P<text>[^]\[]++)\]\((?P<url>/[^)]*+)\)"
)


def format_text(text: str) -> SafeString:
    """Return HTML of the little Markdown our texts use: paragraphs, lists, `code`."""
    blocks = re.split(r"\n\s*\n", str(text).strip())
    return mark_safe("".join(map(_block, blocks)))  # noqa: S308  escaped below


def format_line(text: str) -> SafeString:
    """Return HTML of one line: `code` and [links](/to) pages of ours."""
    parts: list[str] = []
    end = 0
    for match in _CODE.finditer(text := str(text)):
        parts += [escape(text[end : match.start()]), _span(match)]
        end = match.end()
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308  escaped


def _span(match: re.Match[str]) -> str:
    if match["code"]:
        return f"<code>{escape(match['code'])}</code>"
    return f'<a href="{escape(match["url"])}">{escape(match["text"])}</a>'


def _block(block: str) -> str:
    if block.startswith("## "):
        return f"<h2>{format_line(block[3:])}</h2>"
    if block.startswith("- "):
        points = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
        return f"<ul>{''.join(f'<li>{format_line(it)}</li>' for it in points)}</ul>"
    return f"<p>{format_line(block)}</p>"


def read_groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the document's operations by tag, and its webhooks last."""
    groups: dict[str, dict[str, Any]] = {
        tag["name"]: {**tag, "operations": []} for tag in document["tags"]
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            read = _read_operation(document, operation)
            read |= {"method": method.upper(), "path": path}
            read["curl"] = _curl(read, operation)
            groups[operation["tags"][0]]["operations"].append(read)
    if webhooks := document.get("webhooks"):
        groups["webhooks"] = {
            "name": "webhooks",
            "description": "What we send to your endpoints.",
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
    answers = operation["responses"].items()
    name = operation.get("operationId", "")
    return {
        "id": name,
        "summary": (operation.get("summary") or name).rstrip("."),
        "description": operation.get("description", ""),
        "parameters": [
            _row(document, it["name"], it["schema"], required=it.get("required", False))
            | {"in": it["in"], "notes": _notes(it["schema"], it.get("description", ""))}
            for it in operation.get("parameters", [])
        ],
        "bodies": _read_bodies(document, operation.get("requestBody", {})),
        "answers": [
            {
                "status": status,
                "description": answer["description"],
                "headers": answer.get("headers", {}),
                "bodies": _read_bodies(document, answer),
            }
            for status, answer in answers
            if status < "400"
        ],
        "problems": [
            {"status": status, "codes": _codes(answer), "says": answer["description"]}
            for status, answer in answers
            if status >= "400"
        ],
    }


def _codes(answer: Schema) -> list[str]:
    return list(answer.get("content", {}).get(CONTENT_TYPE, {}).get("examples", {}))


def _read_bodies(document: dict[str, Any], holder: Schema) -> list[dict[str, Any]]:
    return [
        {
            "media_type": media_type,
            "rows": list(_rows(document, content.get("schema", {}), "", 0)),
            "examples": [
                _show(it.get("value")) for it in content.get("examples", {}).values()
            ],
        }
        for media_type, content in holder.get("content", {}).items()
    ]


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False)


def _resolve(document: dict[str, Any], schema: Schema) -> Schema:
    """Follow references, and the wrappings that only add a word to one."""
    if reference := schema.get("$ref"):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return _resolve(document, found)
    for word in ("allOf", "oneOf", "anyOf"):
        inner = [it for it in schema.get(word, []) if it.get("type") != "null"]
        if len(inner) == 1:
            own = {key: value for key, value in schema.items() if key != word}
            return {**_resolve(document, inner[0]), **own}
    return schema


def _rows(
    document: dict[str, Any], schema: Schema, within: str, depth: int
) -> Iterator[dict[str, Any]]:
    """Yield a row a field, and then the fields inside of it."""
    whole = _resolve(document, schema)
    if whole.get("type") == "array":
        yield from _rows(document, whole.get("items", {}), f"{within}[]", depth)
    for name, inner in whole.get("properties", {}).items():
        path = f"{within}.{name}" if within else name
        yield _row(document, path, inner, required=name in whole.get("required", []))
        if depth < MAX_DEPTH:
            yield from _rows(document, inner, path, depth + 1)


def _row(
    document: dict[str, Any], name: str, schema: Schema, *, required: bool
) -> dict[str, Any]:
    whole = _resolve(document, schema)
    notes = _notes(whole, schema.get("description") or whole.get("description", ""))
    kind = _kind(document, whole)
    return {"name": name, "type": kind, "required": required, "notes": notes}


def _kind(document: dict[str, Any], schema: Schema) -> str:
    kinds = schema.get("type", "any")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if schema.get("type") == "array":
        return (
            f"array of {_kind(document, _resolve(document, schema.get('items', {})))}"
        )
    if kind_format := schema.get("format"):
        names[0] = f"{names[0]} ({kind_format})"
    return " or ".join(names)


def _notes(schema: Schema, description: str) -> str:
    values = [it for it in schema.get("enum", []) if it is not None]
    notes = [description.strip()] if description else []
    if values:
        notes.append("One of " + ", ".join(f"`{it}`" for it in values) + ".")
    limits = [_LIMITS[it].format(schema[it]) for it in _LIMITS if it in schema]
    return " ".join(
        [*notes, *([", ".join(limits).capitalize() + "."] if limits else [])]
    )


def _curl(read: dict[str, Any], operation: Schema) -> str:
    """Return a command that does it, with the example's body."""
    words = ["curl", "-s", f'"$API{read["path"]}"', '-H "Authorization: Bearer $KEY"']
    if read["method"] not in {"GET", "POST"} or (
        read["method"] == "POST" and not read["bodies"]
    ):
        words.insert(2, f"-X {read['method']}")
    for media_type, content in (
        operation.get("requestBody", {}).get("content", {}).items()
    ):
        for example in content.get("examples", {}).values():
            if media_type == "application/json":
                body = json.dumps(example["value"], ensure_ascii=False)
                words += ["\\\n  -H 'Content-Type: application/json'"]
                words += [f"\\\n  -d {shlex.quote(body)}"]
                return " ".join(words)
    return " ".join(words)
