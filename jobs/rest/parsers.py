"""Strict body parsers: JSON, and multipart forms whose file is streamed to disk.

They reject text that PostgreSQL cannot store and JSON that parsers disagree on, with a
pointer to the place. Serializers validate the fields.
"""

import html
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import IO, Any, NoReturn

from django.conf import settings
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser as DjangoMultiPartParser
from django.http.multipartparser import MultiPartParserError
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, DataAndFiles, MultiPartParser

from jobs.audio.uploads import (
    FORM_OVERHEAD_BYTES,
    CappedUploadHandler,
    IncomingFile,
    is_chunked,
    refuse_size,
)
from jobs.concurrency import parse_slots
from jobs.errors import InvalidRequest, UploadTooLarge
from jobs.parsing.strict_json import (
    has_control_character,
    is_storable,
    loads_strictly,
    pointer_to,
)
from jobs.parsing.whole_numbers import parse_whole_number

_CHUNK_BYTES = 1024**2
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # a gzip header, and the largest window


class StrictJSONParser(BaseParser):
    """Parse a JSON object of at most ``JSON_MAX_BYTES``."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002  DRF's signature
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the object; raises InvalidRequest or UploadTooLarge."""
        expected = get_content_length(parser_context)
        if expected > settings.JSON_MAX_BYTES:
            _refuse_size()
        body = stream.read(settings.JSON_MAX_BYTES + 1)
        if len(body) > settings.JSON_MAX_BYTES:
            _refuse_size()
        if len(body) < expected:
            refuse_truncated_body()
        if _is_gzip(parser_context):
            body = _decompress(body)
        with _parse_slot(len(body), parser_context):
            parsed = loads_strictly(body)
        if not isinstance(parsed, dict):
            raise InvalidRequest("The body must be a JSON object.", code="json_invalid")
        return parsed


class StrictMultiPartParser(MultiPartParser):
    """Parse a form with one file; the fields in ``json_fields`` hold JSON text.

    On any error the file is deleted from disk.
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
        limit = request.upload_handlers[0].max_bytes + FORM_OVERHEAD_BYTES
        counted = _CountedStream(stream, limit=limit)
        try:
            parsed = _parse_form(counted, media_type or "", context)
            if counted.bytes_read < get_content_length(context):
                refuse_truncated_body()
            size = sum(len(text) for _, texts in parsed.data.lists() for text in texts)
            with _parse_slot(size, context):
                fields = self._parse_fields(parsed.data)
            return DataAndFiles(FormFields(fields), parsed.files)
        except BaseException:
            for handler in request.upload_handlers:
                handler.discard()
            raise

    def _parse_fields(self, fields: QueryDict) -> dict[str, Any]:
        parsed: dict[str, Any] = {}
        for name, values in fields.lists():
            if len(values) > 1:
                message = "This field was sent more than once."
                raise InvalidRequest(
                    message, code="field_repeated", pointer=pointer_to(name)
                )
            is_json = name in self.json_fields
            parsed[name] = (
                loads_strictly(values[0].encode(), pointer=pointer_to(name))
                if is_json
                else values[0]
            )
        return parsed


class _FormParser(DjangoMultiPartParser):
    """Django's parser, which keeps the whole name of a file except control characters.

    Django's removes all that Python does not print, as the spaces and joiners that
    names in other scripts contain.
    """

    def sanitize_file_name(self, file_name: str) -> str | None:
        """Return the last part of a path; None if nothing is left."""
        name = html.unescape(file_name).rpartition("/")[2].rpartition("\\")[2]
        name = "".join(
            c for c in name if is_storable(c) and not has_control_character(c)
        )
        return None if name in {"", ".", ".."} else name


def _parse_form(
    stream: "_CountedStream", media_type: str, context: Mapping[str, Any]
) -> "DataAndFiles[Any, Any]":
    request = context["request"]
    meta = {**request.META, "CONTENT_TYPE": media_type}
    if is_chunked(meta):
        meta["CONTENT_LENGTH"] = stream.limit  # Django reads no form without a length
    encoding = context.get("encoding", settings.DEFAULT_CHARSET)
    try:
        parser = _FormParser(meta, stream, request.upload_handlers, encoding)  # type: ignore[arg-type]
        fields, files = parser.parse()
    except MultiPartParserError as error:
        raise ParseError(f"Multipart form parse error - {error}") from error
    return DataAndFiles(fields, files)


class FormFields(dict[str, Any]):
    """The fields of a form, one value each; DRF merges the files into a copy."""

    def copy(self) -> "FormFields":
        """Return a copy of the same class."""
        return FormFields(self)

    def update(self, files: Any) -> None:  # type: ignore[override]
        """Add one file per field: ``dict.update`` would add the list of files."""
        for name in files:
            self[name] = files[name]


class _CountedStream:
    """A stream that counts the bytes read, to detect a truncated or endless body."""

    def __init__(self, stream: IO[Any], *, limit: int) -> None:
        self._stream = stream
        self.limit = limit
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self._stream.read(size)
        self.bytes_read += len(chunk)
        if self.bytes_read > self.limit:
            refuse_size(self.limit - FORM_OVERHEAD_BYTES)
        return chunk


def spool_body(
    stream: IO[Any],
    context: Mapping[str, Any] | None,
    *,
    name: str,
    content_type: str,
    check_size: Callable[[int], None],
) -> IncomingFile:
    """Stream a whole body to disk, of known length or not.

    On any error the file is deleted: of ``check_size``, which gets the number of bytes;
    InvalidRequest for a truncated body; ServiceUnavailable.
    """
    expected = get_content_length(context)
    check_size(expected)
    file = IncomingFile(
        name, content_type, request=(context or {}).get("request"), announced=expected
    )
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            check_size((file.size or 0) + len(chunk))
            file.append(chunk)
        if (file.size or 0) < expected:
            refuse_truncated_body()
        file.sync()
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    return file


def _parse_slot(
    size: int, context: Mapping[str, Any] | None
) -> AbstractContextManager[bool]:
    """Reserve the right to parse this many bytes, per tenant."""
    user = getattr(context["request"] if context else None, "user", None)
    tenant_id = getattr(user, "pk", None)
    is_large = size > parse_slots.LARGE_BYTES
    return parse_slots.parse_slot(tenant_id, is_large=is_large)


def refuse_truncated_body() -> NoReturn:
    """Raise InvalidRequest for a body that ends before its Content-Length."""
    message = "The body is shorter than its Content-Length."
    raise InvalidRequest(message, code="body_truncated")


def _refuse_size() -> NoReturn:
    message = f"The body is larger than {settings.JSON_MAX_BYTES} bytes."
    raise UploadTooLarge(message, code="body_too_large")


def _is_gzip(context: Mapping[str, Any] | None) -> bool:
    headers = context["request"].headers if context else {}
    return str(headers.get("Content-Encoding", "")).strip().lower() == "gzip"


def _decompress(body: bytes) -> bytes:
    """Return the JSON of a gzip body; raises ParseError or UploadTooLarge."""
    decoder = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = decoder.decompress(body, settings.JSON_MAX_BYTES + 1)
    except zlib.error:
        raise ParseError("The body is not gzip, as Content-Encoding states.") from None
    if len(content) > settings.JSON_MAX_BYTES:
        _refuse_size()
    if not decoder.eof or decoder.unused_data:
        raise ParseError("The body is not one complete gzip stream.")
    return content


def get_content_length(context: Mapping[str, Any] | None) -> int:
    """Return the Content-Length of the request; 0 if it is invalid or unknown."""
    request = context["request"] if context else None
    if request and is_chunked(request.META):
        return 0
    length = request.META.get("CONTENT_LENGTH") if request else ""
    return parse_whole_number(str(length or "")) or 0
