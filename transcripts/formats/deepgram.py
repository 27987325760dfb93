"""Deepgram's own document, byte for byte as it came."""

from transcripts.formats.base import Format, Source


def _build(source: Source) -> bytes:
    return source.raw


FORMAT = Format(
    name="raw",
    media_type="application/vnd.deepgram+json",
    extension="deepgram.json",
    build=_build,
    charset=None,
)
