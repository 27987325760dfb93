"""Stream a manifest to disk, from a raw body or a form.

It is parsed later, from disk, so that a body that is cut off has no effect.
"""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from jobs.audio.uploads import CappedUploadHandler, IncomingFile
from jobs.batches.manifests.reader import ManifestFormat
from jobs.errors import UploadTooLarge
from jobs.rest.parsers import StrictMultiPartParser, spool_body

# gzip is recognized by its first bytes, whatever the media type.
KINDS = {
    "application/x-ndjson": ManifestFormat.JSONL,
    "application/jsonl": ManifestFormat.JSONL,
    "text/csv": ManifestFormat.CSV,
    "application/gzip": None,
}
_UNTYPED = {"application/json", "application/octet-stream", "application/x-gzip", ""}


class ManifestParser(BaseParser):
    """Streams a raw manifest body to disk, up to ``MANIFEST_MAX_BYTES``."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the file under the name that it has in a form."""
        file = spool_body(
            stream,
            parser_context,
            name="manifest",
            content_type=base_type(media_type or ""),
            check_size=check_size,
        )
        return {"file": file}


MANIFEST_PARSERS = tuple(
    type("TypedManifestParser", (ManifestParser,), {"media_type": each})
    for each in KINDS
)


class ManifestUploadHandler(CappedUploadHandler):
    """The upload handler with the types and size limit of manifests."""

    @property
    def max_bytes(self) -> int:
        """The maximum size of the file."""
        limit: int = settings.MANIFEST_MAX_BYTES
        return limit

    def check_type(self, content_type: str) -> None:
        """Raise UnsupportedMediaType for a type that cannot be a manifest."""
        if content_type not in KINDS and content_type not in _UNTYPED:
            raise UnsupportedMediaType(content_type)


class ManifestFormParser(StrictMultiPartParser):
    """Parses a form whose file is a manifest."""

    json_fields = frozenset({"defaults", "expires_in_seconds", "metadata"})
    handler = ManifestUploadHandler


def check_size(size_bytes: int) -> None:
    """Raise UploadTooLarge above ``MANIFEST_MAX_BYTES``."""
    if size_bytes > settings.MANIFEST_MAX_BYTES:
        raise UploadTooLarge(
            f"The manifest is larger than {settings.MANIFEST_MAX_BYTES} bytes.",
            code="manifest_too_large",
        )


def format_of(file: IncomingFile) -> ManifestFormat | None:
    """Return the format by media type or file name; None if unknown."""
    by_type = KINDS.get(base_type(file.content_type or ""))
    name = (file.name or "").lower().removesuffix(".gz")
    return by_type or (ManifestFormat.CSV if name.endswith(".csv") else None)


def base_type(content_type: str) -> str:
    """Return a media type without its parameters."""
    return content_type.partition(";")[0].strip().lower()
