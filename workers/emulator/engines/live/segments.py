"""Groups cells into segments and emits their events."""

from collections.abc import Callable
from dataclasses import dataclass

from workers.emulator import engines
from workers.emulator.engines.live import cells, events

# Interval of interim results.
INTERIM_SECONDS = 1.0
# Maximum length of a segment.
MAX_SEGMENT_SECONDS = 4.0
# Minimum of `endpointing`. Deepgram's default is 10 ms.
MIN_PAUSE = 0.1
# Speech starts again after this much silence.
_SPEECH_GAP = 0.3
_FULL_STOPS = (".", "?", "!")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """Requested events. None disables `pause` or `utterance_gap` (seconds)."""

    is_interim: bool = False
    has_vad_events: bool = False
    pause: float | None = MIN_PAUSE
    utterance_gap: float | None = None


class Segmenter:
    """Groups the cells of one channel."""

    def __init__(
        self,
        channel: int,
        settings: EventSettings,
        emit: Callable[[events.Event], None],
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._emit = emit
        self._start = 0.0
        self._now = 0.0
        self._last_result_at = 0.0
        self._words: list[engines.Word] = []
        self._sound_end = -1.0  # of the last cell that was not silent
        self._last_word_end: float | None = None  # None after its UtteranceEnd
        self._is_new_sentence = True

    def add(self, cell: cells.Cell) -> None:
        """Add the next cell and emit the events that are due."""
        self._now = cell.end
        if not cell.is_silent:
            self._add_sound()
        if cell.word is not None:
            self._words.append(self._write(cell.word))
            self._last_word_end = cell.word.end
        if self._is_pause() and self._words:
            self._emit_final(speech_final=True)
        elif self._now - self._start >= MAX_SEGMENT_SECONDS - 1e-6:
            self._emit_final(speech_final=not self._words and self._is_pause())
        elif (
            self._settings.is_interim
            and self._now - self._last_result_at >= INTERIM_SECONDS
        ):
            self._emit_result(is_final=False)
        self._end_utterance()

    def flush(self, *, end: float, from_finalize: bool) -> None:
        """Emit the current segment, up to the end of the received audio."""
        self._now = max(end, self._now)
        if self._now > self._start:
            self._emit_final(speech_final=True, from_finalize=from_finalize)

    def _add_sound(self) -> None:
        is_start = self._sound_end < 0 or self._now - self._sound_end > _SPEECH_GAP
        if is_start and self._settings.has_vad_events:
            at = round(self._now - 1 / cells.CELLS_PER_SECOND, 3)
            self._emit(events.SpeechStarted(channel=self._channel, at=max(at, 0.0)))
        self._sound_end = self._now

    def _is_pause(self) -> bool:
        pause = self._settings.pause
        return pause is not None and self._now - self._sound_end >= pause - 1e-6

    def _end_utterance(self) -> None:
        gap, last = self._settings.utterance_gap, self._last_word_end
        if gap is None or last is None or self._now - last < gap:
            return
        self._last_word_end = None
        self._emit(events.UtteranceEnd(channel=self._channel, last_word_end=last))

    def _emit_final(self, *, speech_final: bool, from_finalize: bool = False) -> None:
        self._emit_result(
            is_final=True, speech_final=speech_final, from_finalize=from_finalize
        )
        self._start = self._now
        self._words = []

    def _emit_result(
        self, *, is_final: bool, speech_final: bool = False, from_finalize: bool = False
    ) -> None:
        self._last_result_at = self._now
        self._emit(
            events.Result(
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
        """Capitalize the first word of a sentence."""
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
