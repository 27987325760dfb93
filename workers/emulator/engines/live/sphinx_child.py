"""The process that listens to one channel of one live stream, with pocketsphinx.

It loads its model, then reads frames from its input (a kind, a length, the payload),
the first of which is its task. It writes what it hears as lines of JSON, and ends with
its input, or with the emulator.
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

# What a frame of the input says, and its form: kind and length of what follows.
TASK, AUDIO, FINALIZE, END = b"T", b"A", b"F", b"E"
HEAD = struct.Struct("<cI")

# The endpointer decides within a window; a longer pause is a longer window.
_WINDOW_SECONDS = (0.3, 1.5)
# Speech without a pause is cut here.
_LONGEST_SPEECH = 12.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the child is told first, as JSON."""

    sample_rate: int
    channels: int
    channel: int | None
    is_interim: bool
    has_vad_events: bool
    pause: float | None
    utterance_gap: float | None


class Resampler:
    """Turn the stream's samples into what the recogniser knows."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._layout = "mono" if task.channel is not None else f"{task.channels}c"
        if self._layout == "2c":
            self._layout = "stereo"
        self._resampler = av.AudioResampler(
            "s16", layout="mono", rate=recogniser.SAMPLE_RATE
        )

    def resample(self, samples: bytes) -> bytes:
        """Return mono samples of 16 kHz."""
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
            bytes(piece.planes[0])[: piece.samples * 2]
            for piece in self._resampler.resample(frame)
        )


class Listener:
    """Follow the sound: silence, speech, silence."""

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
        self._told = 0.0
        self._segment_start = 0.0
        self._speech_start = 0.0
        self._is_speaking = False
        self._last_word_end: float | None = None

    def take(self, pcm: bytes) -> None:
        """Take the next samples, and say what is due."""
        self._rest += pcm
        while len(self._rest) >= self._size:
            frame, self._rest = self._rest[: self._size], self._rest[self._size :]
            self._now += self._endpointer.frame_length
            self._take_frame(frame)

    def flush(self, *, from_finalize: bool) -> None:
        """Say what is left of the segment under way."""
        words = []
        if self._is_speaking:
            words = self._end_speech()
            if from_finalize:
                self._begin_speech(self._now)
        if self._now > self._segment_start:
            self._tell(words, end=self._now, is_final=True, from_finalize=from_finalize)

    def finish(self) -> None:
        """Say what is left of the stream."""
        if self._is_speaking:
            # It cannot take nothing: a sample of silence in its place.
            speech = self._endpointer.end_stream(self._rest or b"\0\0")
            if speech:
                self._decoder.process_raw(speech)
        self._now += len(self._rest) / 2 / recogniser.SAMPLE_RATE
        self.flush(from_finalize=False)

    def _take_frame(self, frame: bytes) -> None:
        speech = self._endpointer.process(frame)
        if speech is None:
            self._pass_silence()
            return
        if not self._is_speaking:
            self._begin_speech(self._endpointer.speech_start)
            if self._task.has_vad_events:
                _write(kind="started", at=round(self._speech_start, 3))
        self._decoder.process_raw(speech)
        if not self._endpointer.in_speech:
            self._tell(self._end_speech(), end=self._now, is_final=True)
        elif self._now - self._speech_start >= _LONGEST_SPEECH:
            words = self._end_speech()
            self._tell(words, end=self._now, is_final=True, is_pause=False)
            self._begin_speech(self._now)
        else:
            self._tell_interim()

    def _begin_speech(self, at: float) -> None:
        self._decoder.start_utt()
        self._is_speaking = True
        self._speech_start = at

    def _end_speech(self) -> list[recogniser.Heard]:
        self._decoder.end_utt()
        self._is_speaking = False
        return self._words()

    def _words(self) -> list[recogniser.Heard]:
        words = list(recogniser.read_words(self._decoder, self._speech_start))
        if words:
            self._last_word_end = words[-1].end
        return words

    def _pass_silence(self) -> None:
        gap, last = self._task.utterance_gap, self._last_word_end
        if gap is not None and last is not None and self._now - last >= gap:
            self._last_word_end = None
            _write(kind="ended", last_word_end=last)
        if self._now - self._segment_start >= segments.LONGEST_SECONDS:
            self._tell([], end=self._now, is_final=True)
        else:
            self._tell_interim()

    def _tell_interim(self) -> None:
        is_due = self._now - self._told >= segments.INTERIM_SECONDS
        if self._task.is_interim and is_due:
            words = self._words() if self._is_speaking else []
            self._tell(words, end=self._now, is_final=False)

    def _tell(
        self,
        words: list[recogniser.Heard],
        *,
        end: float,
        is_final: bool,
        is_pause: bool = True,
        from_finalize: bool = False,
    ) -> None:
        self._told = self._now
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
    """Listen until the input ends."""
    recogniser.die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoder = recogniser.open_decoder()
    frames = _frames(sys.stdin.buffer)
    _, described = next(frames, (TASK, b""))
    if not described:
        return
    task = Task(**json.loads(described))
    listener, resampler = Listener(task, decoder), Resampler(task)
    for kind, payload in frames:
        if kind == AUDIO:
            listener.take(resampler.resample(payload))
        elif kind == FINALIZE:
            listener.flush(from_finalize=True)
        else:
            listener.finish()
            break


def _frames(source: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while len(head := source.read(HEAD.size)) == HEAD.size:
        kind, length = HEAD.unpack(head)
        yield kind, source.read(length)


def _write(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + os.linesep)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
