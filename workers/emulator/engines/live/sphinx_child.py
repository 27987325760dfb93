"""The process that recognizes one channel of one live stream, with pocketsphinx.

Loads the model, then reads messages from its connection: a task, then samples (bytes),
FINALIZE or END. Sends events, then DONE. Ends with its input or with the emulator.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import av
import pocketsphinx

from workers.emulator.engines import recognizer, sphinx
from workers.emulator.engines.live import cells, events, segments

FINALIZE, END, DONE = "finalize", "end", "done"

# Minimum and maximum window of the endpointer; a longer pause needs a longer window.
_WINDOW_SECONDS = (0.3, 1.5)
# Maximum length of speech without a pause.
_MAX_SPEECH_SECONDS = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Format and settings of the channel; None is the mix of all."""

    sample_rate: int
    channels: int
    channel: int | None
    event_settings: segments.EventSettings


class Resampler:
    """Converts the stream's samples to mono at the recognizer's rate."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._layout = "mono" if task.channel is not None else f"{task.channels}c"
        if self._layout == "2c":
            self._layout = "stereo"
        self._resampler = av.AudioResampler(
            "s16", layout="mono", rate=recognizer.SAMPLE_RATE
        )

    def resample(self, samples: bytes) -> bytes:
        """Return 16 kHz mono samples."""
        task = self._task
        channels = task.channels
        if task.channel is not None:
            samples = cells.pick_channel(samples, channels, task.channel)
            channels = 1
        frame = av.AudioFrame(
            format="s16", layout=self._layout, samples=len(samples) // 2 // channels
        )
        frame.sample_rate = task.sample_rate
        size = frame.planes[0].buffer_size
        frame.planes[0].update(samples.ljust(size, b"\0")[:size])
        return b"".join(
            bytes(resampled.planes[0])[: resampled.samples * 2]
            for resampled in self._resampler.resample(frame)
        )


class ChannelRecognizer:
    """Recognizes the speech between silences and emits the events."""

    def __init__(
        self, task: Task, decoder: Any, emit: Callable[[events.Event], None]
    ) -> None:
        self._settings = task.event_settings
        self._channel = task.channel or 0
        self._emit = emit
        shortest, longest = _WINDOW_SECONDS
        window = min(max(self._settings.pause or shortest, shortest), longest)
        self._endpointer = pocketsphinx.Endpointer(
            window=window, sample_rate=recognizer.SAMPLE_RATE
        )
        self._decoder = decoder
        self._size = self._endpointer.frame_bytes
        self._rest = b""
        self._now = 0.0
        self._last_result_at = 0.0
        self._segment_start = 0.0
        self._speech_start = 0.0
        self._is_speaking = False
        self._last_word_end: float | None = None

    def add(self, pcm: bytes) -> None:
        """Add samples and emit the events that are due."""
        self._rest += pcm
        while len(self._rest) >= self._size:
            frame, self._rest = self._rest[: self._size], self._rest[self._size :]
            self._now += self._endpointer.frame_length
            self._add_frame(frame)

    def flush(self, *, from_finalize: bool) -> None:
        """Emit the current segment."""
        words = []
        if self._is_speaking:
            words = self._end_speech()
            if from_finalize:
                self._start_speech(self._now)
        if self._now > self._segment_start:
            self._emit_result(
                words, end=self._now, is_final=True, from_finalize=from_finalize
            )

    def finish(self) -> None:
        """Emit the remaining segment of the stream."""
        if self._is_speaking:
            # `end_stream` needs at least one sample.
            speech = self._endpointer.end_stream(self._rest or b"\0\0")
            if speech:
                self._decoder.process_raw(speech)
        self._now += len(self._rest) / 2 / recognizer.SAMPLE_RATE
        self.flush(from_finalize=False)

    def _add_frame(self, frame: bytes) -> None:
        speech = self._endpointer.process(frame)
        if speech is None:
            self._add_silence()
            return
        if not self._is_speaking:
            self._start_speech(self._endpointer.speech_start)
            if self._settings.has_vad_events:
                at = round(self._speech_start, 3)
                self._emit(events.SpeechStarted(channel=self._channel, at=at))
        self._decoder.process_raw(speech)
        if not self._endpointer.in_speech:
            self._emit_result(self._end_speech(), end=self._now, is_final=True)
        elif self._now - self._speech_start >= _MAX_SPEECH_SECONDS:
            words = self._end_speech()
            self._emit_result(words, end=self._now, is_final=True, is_pause=False)
            self._start_speech(self._now)
        else:
            self._emit_interim()

    def _start_speech(self, at: float) -> None:
        self._decoder.start_utt()
        self._is_speaking = True
        self._speech_start = at

    def _end_speech(self) -> list[recognizer.RecognizedWord]:
        self._decoder.end_utt()
        self._is_speaking = False
        return self._words()

    def _words(self) -> list[recognizer.RecognizedWord]:
        words = list(recognizer.read_words(self._decoder, self._speech_start))
        if words:
            self._last_word_end = words[-1].end
        return words

    def _add_silence(self) -> None:
        gap, last = self._settings.utterance_gap, self._last_word_end
        if gap is not None and last is not None and self._now - last >= gap:
            self._last_word_end = None
            self._emit(events.UtteranceEnd(channel=self._channel, last_word_end=last))
        if self._now - self._segment_start >= segments.MAX_SEGMENT_SECONDS:
            self._emit_result([], end=self._now, is_final=True)
        else:
            self._emit_interim()

    def _emit_interim(self) -> None:
        is_due = self._now - self._last_result_at >= segments.INTERIM_SECONDS
        if self._settings.is_interim and is_due:
            words = self._words() if self._is_speaking else []
            self._emit_result(words, end=self._now, is_final=False)

    def _emit_result(
        self,
        words: list[recognizer.RecognizedWord],
        *,
        end: float,
        is_final: bool,
        is_pause: bool = True,
        from_finalize: bool = False,
    ) -> None:
        self._last_result_at = self._now
        speech_final = is_final and is_pause and self._settings.pause is not None
        written = sphinx.punctuate(words)
        if written and not speech_final:
            # The sentence may continue.
            last = written[-1]
            last = replace(last, written=last.written.removesuffix("."))
            written = (*written[:-1], last)
        self._emit(
            events.Result(
                channel=self._channel,
                start=self._segment_start,
                end=end,
                words=written,
                is_final=is_final,
                speech_final=speech_final,
                from_finalize=from_finalize,
            )
        )
        if is_final:
            self._segment_start = end


def serve(parent: int, connection: Connection) -> None:
    """Recognize until the input ends; runs in its own process."""
    recognizer.exit_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    decoder = recognizer.open_decoder()
    task: Task = connection.recv()
    channel = ChannelRecognizer(task, decoder, connection.send)
    resampler = Resampler(task)
    while (message := connection.recv()) != END:
        if isinstance(message, bytes):
            channel.add(resampler.resample(message))
        else:
            channel.flush(from_finalize=True)
    channel.finish()
    connection.send(DONE)
