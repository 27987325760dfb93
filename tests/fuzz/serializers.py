"""How schemathesis writes the bodies that it knows no serializer for: manifests."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer(
    "application/gzip", "application/jsonl", "application/x-ndjson"
)
def serialize_lines(_context: Any, value: Any) -> bytes:
    """Return bytes as they are, and anything else as one line of JSON."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
