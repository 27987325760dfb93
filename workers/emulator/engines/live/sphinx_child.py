"""The process that recognises one channel of one live stream, with pocketsphinx.

Loads the model, then reads frames (kind, length, payload) from stdin; the first one is
its task. Writes events as lines of JSON. Ends with its input or with the emulator.
"""

import dataclasses
import json
import os
import signal
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import pocketsphinx

from workers.emulator.engines import recogniser
from workers.emulator.engines.live import cells, segments

# Kinds of frames, and the frame header: kind and payload length.
TASK, AUDIO, FINALIZE, END = b"T", b"A", b"F", b"E"
HEAD = struct.Struct("<cI")

# Minimum and maximum window of the endpointer; a longer pause needs a longer window.
_WINDOW_SECONDS = (0.3, 1.5)
# Maximum length of speech without a pause.
_MAX_SPEECH_SECONDS = 12.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Format and settings of the channel, sent as JSON in the first frame."""

    sample_rate: int
    channels: int
    channel: int | None
    is_interim: bool
    has_vad_events: bool
    pause: float | None
    utterance_gap: float | None


class Resampler:
    """Converts the stream's samples to mono at the recogniser's rate."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._layout = "mono" if task.channel is not None else f"{task.channels}c"
        if self._layout == "2c":
            self._layout = "stereo"
        self._resampler = av.AudioResampler(
            "s16", layout="mono", rate=recogniser.SAMPLE_RATE
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


class ChannelRecogniser:
    """Recognises the speech between silences and writes the events."""

    def __init__(self, task: Task, decoder: Any) -> None:
        self._task = task
        shortest, longest = _WINDOW_SECONDS
        window = min(max(task.pause or shortest, shortest), longest)
        self._endpointer = pocketsphinx.Endpointer(
            window=window, sample_rate=recogniser.SAMPLE_RATE
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
        """Add samples and write the events that are due."""
        self._rest += pcm
        while len(self._rest) >= self._size:
            frame, self._rest = self._rest[: self._size], self._rest[self._size :]
            self._now += self._endpointer.frame_length
            self._add_frame(frame)

    def flush(self, *, from_finalize: bool) -> None:
        """Write the current segment."""
        words = []
        if self._is_speaking:
            words = self._end_speech()
            if from_finalize:
                self._start_speech(self._now)
        if self._now > self._segment_start:
            self._write_result(
                words, end=self._now, is_final=True, from_finalize=from_finalize
            )

    def finish(self) -> None:
        """Write the remaining segment of the stream."""
        if self._is_speaking:
            # `end_stream` needs at least one sample.
            speech = self._endpointer.end_stream(self._rest or b"\0\0")
            if speech:
                self._decoder.process_raw(speech)
        self._now += len(self._rest) / 2 / recogniser.SAMPLE_RATE
        self.flush(from_finalize=False)

    def _add_frame(self, frame: bytes) -> None:
        speech = self._endpointer.process(frame)
        if speech is None:
            self._add_silence()
            return
        if not self._is_speaking:
            self._start_speech(self._endpointer.speech_start)
            if self._task.has_vad_events:
                _write(kind="started", at=round(self._speech_start, 3))
        self._decoder.process_raw(speech)
        if not self._endpointer.in_speech:
            self._write_result(self._end_speech(), end=self._now, is_final=True)
        elif self._now - self._speech_start >= _MAX_SPEECH_SECONDS:
            words = self._end_speech()
            self._write_result(words, end=self._now, is_final=True, is_pause=False)
            self._start_speech(self._now)
        else:
            self._write_interim()

    def _start_speech(self, at: float) -> None:
        self._decoder.start_utt()
        self._is_speaking = True
        self._speech_start = at

    def _end_speech(self) -> list[recogniser.RecognisedWord]:
        self._decoder.end_utt()
        self._is_speaking = False
        return self._words()

    def _words(self) -> list[recogniser.RecognisedWord]:
        words = list(recogniser.read_words(self._decoder, self._speech_start))
        if words:
            self._last_word_end = words[-1].end
        return words

    def _add_silence(self) -> None:
        gap, last = self._task.utterance_gap, self._last_word_end
        if gap is not None and last is not None and self._now - last >= gap:
            self._last_word_end = None
            _write(kind="ended", last_word_end=last)
        if self._now - self._segment_start >= segments.MAX_SEGMENT_SECONDS:
            self._write_result([], end=self._now, is_final=True)
        else:
            self._write_interim()

    def _write_interim(self) -> None:
        is_due = self._now - self._last_result_at >= segments.INTERIM_SECONDS
        if self._task.is_interim and is_due:
            words = self._words() if self._is_speaking else []
            self._write_result(words, end=self._now, is_final=False)

    def _write_result(
        self,
        words: list[recogniser.RecognisedWord],
        *,
        end: float,
        is_final: bool,
        is_pause: bool = True,
        from_finalize: bool = False,
    ) -> None:
        self._last_result_at = self._now
        _write(
            kind="heard",
            start=self._segment_start,
            end=end,
            words=[dataclasses.asdict(word) for word in words],
            is_final=is_final,
            speech_final=is_final and is_pause and self._task.pause is not None,
            from_finalize=from_finalize,
        )
        if is_final:
            self._segment_start = end


def main() -> None:
    """Recognise until the input ends."""
    recogniser.exit_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoder = recogniser.open_decoder()
    frames = _read_frames(sys.stdin.buffer)
    _, described = next(frames, (TASK, b""))
    if not described:
        return
    task = Task(**json.loads(described))
    channel, resampler = ChannelRecogniser(task, decoder), Resampler(task)
    for kind, payload in frames:
        if kind == AUDIO:
            channel.add(resampler.resample(payload))
        elif kind == FINALIZE:
            channel.flush(from_finalize=True)
        else:
            channel.finish()
            break


def _read_frames(source: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while len(head := source.read(HEAD.size)) == HEAD.size:
        kind, length = HEAD.unpack(head)
        yield kind, source.read(length)


def _write(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + os.linesep)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
