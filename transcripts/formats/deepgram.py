"""The Deepgram document, byte for byte."""

from transcripts.formats.base import Format, FormatSource


def _build(source: FormatSource) -> bytes:
    return source.raw


FORMAT = Format(
    name="raw",
    media_type="application/vnd.deepgram+json",
    extension="deepgram.json",
    build=_build,
    charset=None,
)
