"""Parse the body of ``/v1/listen``: raw audio, streamed to disk."""

from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from rest_framework.parsers import BaseParser

from jobs.audio import uploads
from jobs.rest.parsers import get_content_length, refuse_truncated_body

FILE = "file"
_CHUNK_BYTES = 1024**2


class RawAudioParser(BaseParser):
    """Treats any content type except JSON as audio, as Deepgram does."""

    media_type = "*/*"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the file; raises InvalidRequest or UploadTooLarge."""
        expected = get_content_length(parser_context)
        uploads.check_size(expected)
        file = uploads.IncomingFile(
            "audio",
            media_type or "",
            request=(parser_context or {}).get("request"),
            announced=expected,
        )
        try:
            while chunk := stream.read(min(_CHUNK_BYTES, expected - (file.size or 0))):
                file.append(chunk)
            if (file.size or 0) < expected:
                refuse_truncated_body()
            file.sync()
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        return {FILE: file} if expected else {}
