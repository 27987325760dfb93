"""WebVTT captions with voice spans.

https://www.w3.org/TR/webvtt1/: 4.1 file structure (hours may have more than two
digits), 4.2.2 cue text, its escapes and the voice span ``<v Speaker 0>``, whose end tag
may be omitted if it spans the whole cue.
"""

from transcripts.formats.base import Format, FormatSource, encode
from transcripts.formats.captions import Caption, build_captions

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def _build(source: FormatSource) -> bytes:
    blocks = [_format_caption(each) for each in build_captions(source.document)]
    return encode("\n".join(["WEBVTT\n", *blocks]))


def _format_caption(caption: Caption) -> str:
    name = str(caption.voice)
    voice = f"<v {name}>" if name else ""
    text = "\n".join(caption.lines()).translate(_ESCAPES)
    times = f"{_format_time(caption.start)} --> {_format_time(caption.end)}"
    return f"{times}\n{voice}{text}\n"


def _format_time(at: int) -> str:
    seconds, milliseconds = divmod(at, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"


FORMAT = Format(
    name="vtt",
    media_type="text/vtt",
    extension="vtt",
    build=_build,
)
