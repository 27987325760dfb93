"""SubRip: numbered captions with times, for any player.

There is no standard and no escaping: https://www.matroska.org/technical/subtitles.html
(SRT subtitles). What a player would take for markup is written with signs alike, and a
voice is named in the text, where it changes.
"""

from transcripts.formats.base import Format, FormatSource, encode
from transcripts.formats.captions import build_captions, label_of

_ALIKE = str.maketrans("<>{}", "\u2039\u203a()")


def _build(source: FormatSource) -> bytes:
    captions = build_captions(source.document, has_labels=True)
    has_voices = len({caption.voice for caption in captions}) > 1
    blocks, before = [], None
    for number, caption in enumerate(captions, start=1):
        is_new = has_voices and caption.voice != before
        lines = caption.lines(label_of(caption.voice) if is_new else "")
        text = "\n".join(lines).translate(_ALIKE)
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
