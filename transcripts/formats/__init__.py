"""Output formats of a transcript, one module each."""

from transcripts.formats import deepgram, plain, platform_json, srt, vtt
from transcripts.formats.base import Format, FormatSource

__all__ = ["FORMATS", "Format", "FormatSource"]

# In order of preference for equal ``Accept`` values; the first is the default.
_ALL = (platform_json.FORMAT, plain.FORMAT, deepgram.FORMAT, srt.FORMAT, vtt.FORMAT)
FORMATS: dict[str, Format] = {each.name: each for each in _ALL}
