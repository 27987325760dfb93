"""SubRip (SRT) captions.

SRT has no standard and no escaping: https://www.matroska.org/technical/subtitles.html
(SRT subtitles). Characters that players treat as markup are replaced by similar ones,
and a label in the text names each new voice.
"""

from transcripts.formats.base import Format, FormatSource, encode
from transcripts.formats.captions import build_captions, build_label

_SIMILAR = str.maketrans("<>{}", "\u2039\u203a()")


def _build(source: FormatSource) -> bytes:
    captions = build_captions(source.document, has_labels=True)
    has_voices = len({caption.voice for caption in captions}) > 1
    blocks, before = [], None
    for number, caption in enumerate(captions, start=1):
        is_new = has_voices and caption.voice != before
        lines = caption.lines(build_label(caption.voice) if is_new else "")
        text = "\n".join(lines).translate(_SIMILAR)
        times = f"{_format_time(caption.start)} --> {_format_time(caption.end)}"
        blocks.append(f"{number}\n{times}\n{text}\n")
        before = caption.voice
    return encode("\n".join(blocks))


def _format_time(at: int) -> str:
    seconds, milliseconds = divmod(at, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02},{milliseconds:03}"


FORMAT = Format(
    name="srt",
    media_type="application/x-subrip",
    extension="srt",
    build=_build,
)
