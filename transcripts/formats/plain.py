"""Plain text: by speaker if known, else by paragraph, else the text as one block.

The speech of several channels is merged by time.
"""

from collections.abc import Iterable, Iterator

from transcripts.formats.base import Format, FormatSource, encode
from transcripts.formats.captions import PAUSE_MS, build_label
from transcripts.formats.words import Voice, Word, join, read_channels


def _build(source: FormatSource) -> bytes:
    channels = read_channels(source.document)
    words = [word for channel in channels for word in channel]
    has_voices = len({word.voice for word in words}) > 1
    if not has_voices and not any(word.opens_paragraph for word in words):
        return encode(source.transcript.text)
    stretches = [each for channel in channels for each in _split(channel)]
    stretches.sort(key=lambda words: words[0].start)
    return encode("\n\n".join(_format(stretches, has_voices=has_voices)))


def _split(words: Iterable[Word]) -> Iterator[list[Word]]:
    """Split a channel wherever the speech of another channel may be inserted."""
    stretch: list[Word] = []
    for word in words:
        if stretch and _is_break(stretch[-1], word):
            yield stretch
            stretch = []
        stretch.append(word)
    if stretch:
        yield stretch


def _is_break(last: Word, word: Word) -> bool:
    is_after_pause = word.start - last.end > PAUSE_MS
    return word.voice != last.voice or is_after_pause or word.opens_paragraph


def _format(stretches: Iterable[list[Word]], *, has_voices: bool) -> Iterator[str]:
    """Yield the paragraphs; consecutive stretches of one voice are joined."""
    paragraph: list[Word] = []
    named: Voice | None = None
    for words in [*stretches, []]:
        is_same = bool(paragraph and words) and words[0].voice == paragraph[0].voice
        if paragraph and not (is_same and not words[0].opens_paragraph):
            voice = paragraph[0].voice
            label = build_label(voice) if has_voices and voice != named else ""
            yield f"{label} {join(paragraph)}".lstrip()
            paragraph, named = [], voice
        paragraph += words


FORMAT = Format(
    name="text",
    media_type="text/plain",
    extension="txt",
    build=_build,
)
