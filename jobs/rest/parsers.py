"""Read request bodies strictly: JSON, and multipart with its file streamed to disk.

What PostgreSQL cannot store or two readers could take differently is refused here, with
a pointer to where it is. What the fields mean is the serializers' business.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import IO, Any, NoReturn

from django.conf import settings
from django.http import QueryDict
from rest_framework.parsers import BaseParser, DataAndFiles, MultiPartParser

from jobs.audio.uploads import CappedUploadHandler
from jobs.concurrency import parse_slots
from jobs.errors import InvalidRequest, UploadTooLarge
from jobs.strict_json import loads_strictly, pointer_to
from jobs.whole_numbers import parse_whole_number


class StrictJSONParser(BaseParser):
    """Read a JSON object of at most ``JSON_MAX_BYTES``."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002  DRF's signature
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the object; raises InvalidRequest or UploadTooLarge."""
        expected = content_length(parser_context)
        if expected > settings.JSON_MAX_BYTES:
            _refuse_size()
        body = stream.read(settings.JSON_MAX_BYTES + 1)
        if len(body) > settings.JSON_MAX_BYTES:
            _refuse_size()
        if len(body) < expected:
            refuse_cut_body()
        with _turn_for(len(body), parser_context):
            parsed = loads_strictly(body)
        if not isinstance(parsed, dict):
            raise InvalidRequest("The body must be a JSON object.", code="json_invalid")
        return parsed


class StrictMultiPartParser(MultiPartParser):
    """Read a form with one file; some fields carry JSON text.

    Whatever goes wrong, no part of the file is left on disk.
    """

    json_fields = frozenset(
        {
            "allowed_regions",
            "expires_in_seconds",
            "max_attempts",
            "metadata",
            "options",
            "retention",
        }
    )
    handler = CappedUploadHandler

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> "DataAndFiles[Any, Any]":
        """Return fields and files; raises InvalidRequest or UploadTooLarge."""
        context = dict(parser_context or {})
        request = context["request"]
        request.upload_handlers = [self.handler(request)]
        counted = _CountedStream(stream)
        try:
            parsed = super().parse(counted, media_type, context)  # type: ignore[arg-type]
            if counted.bytes_read < content_length(context):
                refuse_cut_body()
            size = sum(len(text) for _, texts in parsed.data.lists() for text in texts)
            with _turn_for(size, context):
                fields = self._read_fields(parsed.data)
            return DataAndFiles(FormFields(fields), parsed.files)
        except BaseException:
            for handler in request.upload_handlers:
                handler.discard()
            raise

    def _read_fields(self, fields: QueryDict) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for name, values in fields.lists():
            if len(values) > 1:
                message = "This field was sent more than once."
                raise InvalidRequest(
                    message, code="field_repeated", pointer=pointer_to(name)
                )
            is_json = name in self.json_fields
            read[name] = (
                loads_strictly(values[0].encode(), pointer=pointer_to(name))
                if is_json
                else values[0]
            )
        return read


class FormFields(dict[str, Any]):
    """A form's fields, one value each; DRF lays the files over a copy of them."""

    def copy(self) -> "FormFields":
        """Return a copy that takes files."""
        return FormFields(self)

    def update(self, files: Any) -> None:  # type: ignore[override]
        """Add each field's file: a plain dict would take the list that it stands in."""
        for name in files:
            self[name] = files[name]


class _CountedStream:
    """A stream that knows how much was read, to tell a cut body from a whole one."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self._stream.read(size)
        self.bytes_read += len(chunk)
        return chunk


def _turn_for(
    size: int, context: Mapping[str, Any] | None
) -> AbstractContextManager[bool]:
    """Return the caller's turn to parse so many bytes."""
    user = getattr(context["request"] if context else None, "user", None)
    who = getattr(user, "pk", None)
    return parse_slots.parse_slot(who, is_large=size > parse_slots.LARGE_BYTES)


def refuse_cut_body() -> NoReturn:
    """Say that the body ended before its announced length."""
    message = "The body is shorter than its Content-Length: the upload was cut."
    raise InvalidRequest(message, code="body_truncated")


def _refuse_size() -> NoReturn:
    message = f"The body is larger than {settings.JSON_MAX_BYTES} bytes."
    raise UploadTooLarge(message, code="body_too_large")


def content_length(context: Mapping[str, Any] | None) -> int:
    """Return how long the body is said to be; 0 where nothing is said."""
    request = context["request"] if context else None
    length = request.META.get("CONTENT_LENGTH") if request else ""
    return parse_whole_number(str(length or "")) or 0
