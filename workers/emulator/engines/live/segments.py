"""From cells to events: when a result is sent, and which words are in it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from workers.emulator import engines
from workers.emulator.engines.live import cells, events

# A segment under way is told so often.
INTERIM_SECONDS = 1.0
# No segment is longer, whether somebody speaks or not.
LONGEST_SECONDS = 4.0
# Deepgram's `endpointing` is 10 ms unless set; nobody pauses for less than this.
SHORTEST_PAUSE = 0.1
# After so much silence the next sound is a new beginning.
_SPEECH_GAP = 0.3
_FULL_STOPS = (".", "?", "!")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What the caller wants to be told. A pause or gap of None ends nothing."""

    is_interim: bool = False
    has_vad_events: bool = False
    pause: float | None = SHORTEST_PAUSE
    utterance_gap: float | None = None


class Segmenter:
    """Follow one channel cell by cell."""

    def __init__(
        self, channel: int, manner: Manner, say: Callable[[events.Event], None]
    ) -> None:
        self._channel = channel
        self._manner = manner
        self._say = say
        self._start = 0.0
        self._now = 0.0
        self._told = 0.0
        self._words: list[engines.Word] = []
        self._sound_end = -1.0  # of the last cell that was not silent
        self._last_word_end: float | None = None  # until its utterance has ended
        self._is_new_sentence = True

    def take(self, cell: cells.Cell) -> None:
        """Take the next cell, and say what is due at its end."""
        self._now = cell.end
        if not cell.is_silent:
            self._note_sound()
        if cell.word is not None:
            self._words.append(self._write(cell.word))
            self._last_word_end = cell.word.end
        if self._is_pause() and self._words:
            self._tell_final(speech_final=True)
        elif self._now - self._start >= LONGEST_SECONDS - 1e-6:
            self._tell_final(speech_final=not self._words and self._is_pause())
        elif self._manner.is_interim and self._now - self._told >= INTERIM_SECONDS:
            self._tell(is_final=False)
        self._end_utterance()

    def flush(self, *, end: float, from_finalize: bool) -> None:
        """Say what is left, up to the end of what was received."""
        self._now = max(end, self._now)
        if self._now > self._start:
            self._tell_final(speech_final=True, from_finalize=from_finalize)

    def _note_sound(self) -> None:
        is_beginning = self._sound_end < 0 or self._now - self._sound_end > _SPEECH_GAP
        if is_beginning and self._manner.has_vad_events:
            at = round(self._now - 1 / cells.CELLS_PER_SECOND, 3)
            self._say(events.SpeechStarted(channel=self._channel, at=max(at, 0.0)))
        self._sound_end = self._now

    def _is_pause(self) -> bool:
        pause = self._manner.pause
        return pause is not None and self._now - self._sound_end >= pause - 1e-6

    def _end_utterance(self) -> None:
        gap, last = self._manner.utterance_gap, self._last_word_end
        if gap is None or last is None or self._now - last < gap:
            return
        self._last_word_end = None
        self._say(events.UtteranceEnd(channel=self._channel, last_word_end=last))

    def _tell_final(self, *, speech_final: bool, from_finalize: bool = False) -> None:
        self._tell(
            is_final=True, speech_final=speech_final, from_finalize=from_finalize
        )
        self._start = self._now
        self._words = []

    def _tell(
        self, *, is_final: bool, speech_final: bool = False, from_finalize: bool = False
    ) -> None:
        self._told = self._now
        self._say(
            events.Heard(
                channel=self._channel,
                start=self._start,
                end=self._now,
                words=tuple(self._words),
                is_final=is_final,
                speech_final=speech_final,
                from_finalize=from_finalize,
            )
        )

    def _write(self, word: engines.Word) -> engines.Word:
        """Begin a sentence with a capital."""
        is_first, self._is_new_sentence = (
            self._is_new_sentence,
            word.written.endswith(_FULL_STOPS),
        )
        if not is_first:
            return word
        return engines.Word(
            text=word.text,
            written=word.written.capitalize(),
            start=word.start,
            end=word.end,
            confidence=word.confidence,
        )
