"""Take a manifest from the socket to disk: as the body itself, or as a form's file.

What it says is read later, from there: a body that is cut off has made nothing yet.
"""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from jobs.audio.uploads import CappedUploadHandler, IncomingFile
from jobs.batches.manifests.reader import ManifestFormat
from jobs.errors import UploadTooLarge
from jobs.rest.parsers import (
    StrictMultiPartParser,
    get_content_length,
    refuse_truncated_body,
)

# Gzip is told by its first bytes, whatever it is sent as.
KINDS = {
    "application/x-ndjson": ManifestFormat.JSONL,
    "application/jsonl": ManifestFormat.JSONL,
    "text/csv": ManifestFormat.CSV,
    "application/gzip": None,
}
_ALSO = {"application/json", "application/octet-stream", "application/x-gzip", ""}
_CHUNK = 64 * 1024


class ManifestParser(BaseParser):
    """Stream a body that is a manifest to disk, no further than is allowed."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the file under the name that it has in a form."""
        expected = get_content_length(parser_context)
        check_size(expected)
        file = IncomingFile(
            "manifest",
            base_type(media_type or ""),
            request=(parser_context or {}).get("request"),
            announced=expected,
        )
        try:
            while chunk := stream.read(_CHUNK):
                file.append(chunk)
                check_size(file.size or 0)
            if (file.size or 0) < expected:
                refuse_truncated_body()
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return {"file": file}


MANIFEST_PARSERS = tuple(
    type("TypedManifestParser", (ManifestParser,), {"media_type": each})
    for each in KINDS
)


class ManifestUploadHandler(CappedUploadHandler):
    """As for audio, with a manifest's types and size."""

    @property
    def max_bytes(self) -> int:
        """How large the file may be."""
        limit: int = settings.MANIFEST_MAX_BYTES
        return limit

    def check_type(self, content_type: str) -> None:
        """Refuse what cannot be a manifest."""
        if content_type not in KINDS and content_type not in _ALSO:
            raise UnsupportedMediaType(content_type)


class ManifestFormParser(StrictMultiPartParser):
    """Read a form whose file is a manifest."""

    json_fields = frozenset({"defaults", "expires_in_seconds", "metadata"})
    handler = ManifestUploadHandler


def check_size(size_bytes: int) -> None:
    """Raise UploadTooLarge for more than a manifest may have."""
    if size_bytes > settings.MANIFEST_MAX_BYTES:
        raise UploadTooLarge(
            f"The manifest is larger than {settings.MANIFEST_MAX_BYTES} bytes.",
            code="manifest_too_large",
        )


def kind_of(file: IncomingFile) -> ManifestFormat | None:
    """Return what its sender says it is; None leaves it to its first line."""
    kind = KINDS.get(base_type(file.content_type or ""))
    name = (file.name or "").lower().removesuffix(".gz")
    return kind or (ManifestFormat.CSV if name.endswith(".csv") else None)


def base_type(content_type: str) -> str:
    """Return a media type without its parameters."""
    return content_type.partition(";")[0].strip().lower()
