"""How schemathesis writes manifests, and values for what no schema can express.

A schema cannot say that a URL is public, that a time is in the future, that bytes are
audio, or that two fields exclude each other. Valid requests therefore get such values
from here; invalid ones are sent as they are.
"""

import base64
import gzip
import io
import json
import uuid
import wave
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.transport.serialization import Binary

MANIFEST = b"audio_url\nhttps://audio.example.com/a.wav\n"
ITEMS = [{"audio_url": "https://audio.example.com/a.wav"}]


def _make_wav() -> bytes:
    """Return a tenth of a second of silence; without Django, as schemathesis runs."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    return content.getvalue()


WAV = _make_wav()
_LINES = json.dumps(ITEMS[0])
_MANIFESTS = {
    "application/gzip": "(bytes)",
    "application/jsonl": _LINES,
    "application/x-ndjson": _LINES,
    "text/csv": MANIFEST.decode(),
}
# Signed by the server, or from another response.
_SIGNED = ("cursor", "last_event_id", "expires", "signature")
# Options that need or exclude others.
_DEPENDENT = ("audio_track", "encoding", "keyterm", "keywords", "language_hint")

schemathesis.openapi.format("ip-network", st.just("192.0.2.0/24"))
schemathesis.openapi.format("uri", st.just("https://hooks.example.com/a"))


@schemathesis.serializer("application/gzip")
def compress_lines(_context: Any, value: Any) -> bytes:
    """Return the manifest in place of an example, and anything else as it is."""
    return gzip.compress(MANIFEST) if value == "(bytes)" else _encode(value)


@schemathesis.serializer("application/jsonl", "application/x-ndjson")
def serialize_lines(_context: Any, value: Any) -> bytes:
    """Return bytes as they are, and anything else as one line of JSON."""
    return _encode(value)


def _encode(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Complete a valid request."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive:
        return
    for name in _SIGNED:
        (case.query or {}).pop(name, None)
    _set(case.query, q="hello", **{"from": "2026-03-01", "to": "2026-03-31"})
    (case.headers or {}).pop("Last-Event-ID", None)
    _set(case.headers, **{"Idempotency-Key": uuid.uuid4().hex})
    if case.path.startswith("/v1/batches") and case.method == "POST":
        case.query = {}  # JSON text, and only beside a manifest
    if isinstance(case.body, dict):
        file = MANIFEST if "batches" in case.path else WAV
        case.body = _complete(case.body, file)
        if case.path == "/v1/transcribe" and "file" not in case.body:
            case.body["audio_url"] = ITEMS[0]["audio_url"]
        if "/api-keys/" in case.path:  # a key's expiry can only be moved earlier
            case.body.pop("expires_at", None)
            case.body.pop("expires_in_seconds", None)
    elif case.media_type in _MANIFESTS:
        case.body = _MANIFESTS[case.media_type]


def _complete(body: dict[str, Any], file: bytes) -> dict[str, Any]:
    now = datetime.now(UTC)
    completed = dict(body)
    _set(
        completed,
        audio_url="https://audio.example.com/a.wav",
        callback_url="https://hooks.example.com/a",
        url="https://hooks.example.com/a",
        expires_at=(now + timedelta(hours=1)).isoformat(),
        since=(now - timedelta(hours=1)).isoformat(),
        until=now.isoformat(),
        items=ITEMS,
        defaults={},
        allowed_regions=["local"],
        wait=1,
        file=Binary(file),
        secret="whsec_" + base64.b64encode(uuid.uuid4().bytes * 2).decode(),
        # A key may only create keys with scopes of its own.
        scopes=["jobs:read"],
        # Those of the job are kept beside these.
        metadata={"order": "1"},
    )
    if "expires_at" in completed:
        completed.pop("expires_in_seconds", None)
    if completed.get("mode") == "stream" or completed.get("mode", "") is None:
        completed["mode"] = "async"
    if isinstance(options := completed.get("options"), dict):
        completed["options"] = {
            name: value for name, value in options.items() if name not in _DEPENDENT
        }
    return completed


def _set(fields: Any, **values: Any) -> None:
    """Replace the values of fields that are present and not null."""
    for name, value in values.items():
        if fields and fields.get(name) is not None and value is not None:
            fields[name] = value
