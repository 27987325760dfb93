"""Output formats of a transcript, one module each."""

from transcripts.formats import deepgram, ours, plain, srt, vtt
from transcripts.formats.base import Format, FormatSource

__all__ = ["FORMATS", "Format", "FormatSource"]

# In the order in which Accept chooses among equals: the first is the default.
_ALL = (ours.FORMAT, plain.FORMAT, deepgram.FORMAT, srt.FORMAT, vtt.FORMAT)
FORMATS: dict[str, Format] = {each.name: each for each in _ALL}
