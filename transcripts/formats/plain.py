"""Text to read: who says what where that is known, else in paragraphs, else the words.

Turns of several channels stand in the order of time.
"""

from collections.abc import Iterable, Iterator

from transcripts.formats.base import Format, FormatSource, encode
from transcripts.formats.captions import PAUSE_MS, label_of
from transcripts.formats.words import Voice, Word, join, read_channels


def _build(source: FormatSource) -> bytes:
    channels = read_channels(source.document)
    words = [word for channel in channels for word in channel]
    has_voices = len({word.voice for word in words}) > 1
    if not has_voices and not any(word.opens_paragraph for word in words):
        return encode(source.transcript.text)
    turns = [turn for channel in channels for turn in _split(channel)]
    turns.sort(key=lambda turn: turn[0].start)
    return encode("\n\n".join(_format(turns, has_voices=has_voices)))


def _split(words: Iterable[Word]) -> Iterator[list[Word]]:
    """Cut a channel wherever somebody else may have their say."""
    turn: list[Word] = []
    for word in words:
        if turn and _is_break(turn[-1], word):
            yield turn
            turn = []
        turn.append(word)
    if turn:
        yield turn


def _is_break(last: Word, word: Word) -> bool:
    is_after_pause = word.start - last.end > PAUSE_MS
    return word.voice != last.voice or is_after_pause or word.opens_paragraph


def _format(turns: Iterable[list[Word]], *, has_voices: bool) -> Iterator[str]:
    """Yield the paragraphs, what one voice says in a row in as few as it has."""
    paragraph: list[Word] = []
    named: Voice | None = None
    for turn in [*turns, []]:
        goes_on = bool(paragraph and turn) and turn[0].voice == paragraph[0].voice
        if paragraph and not (goes_on and not turn[0].opens_paragraph):
            voice = paragraph[0].voice
            label = label_of(voice) if has_voices and voice != named else ""
            yield f"{label} {join(paragraph)}".lstrip()
            paragraph, named = [], voice
        paragraph += turn


FORMAT = Format(
    name="text",
    media_type="text/plain",
    extension="txt",
    build=_build,
)
