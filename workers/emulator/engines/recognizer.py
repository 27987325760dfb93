"""The recognition process: PyAV decodes, pocketsphinx recognizes.

Uses the model and dictionary of the wheel, unmodified. pocketsphinx holds the GIL while
it works, so `engines.sphinx` starts processes instead of threads.
"""

import contextlib
import ctypes
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import synchronize
from pathlib import Path
from typing import Any, BinaryIO

import av
import pocketsphinx

from workers.emulator import audio
from workers.emulator.protocol import options

SAMPLE_RATE = 16_000
FRAMES_PER_SECOND = 100

_VARIANT = re.compile(r"\(\d+\)$")
_SILENT = re.compile(r"^[<\[+].*[>\]+]$")
_PR_SET_PDEATHSIG = 1
_SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizedWord:
    """One recognized word, times in seconds from the start of the audio."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """One channel of one file; channel None is the mix of all."""

    content: bytes | Path
    channel: int | None
    raw: options.RawFormat | None


class _Process:
    """Holds the decoder of this process, which takes most of a second to load."""

    decoder: Any = None


def prepare(parent: int, all_ready: synchronize.Barrier) -> None:
    """Load the model and wait until all sibling processes have loaded theirs."""
    exit_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _Process.decoder = open_decoder()
    all_ready.wait()


def exit_with_parent(parent: int) -> None:
    """End this process when its parent ends, even if killed (PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent ended before the call above.
        os._exit(1)


def report_ready() -> int:
    """Return the process id; runs after `prepare`."""
    return os.getpid()


def recognize(excerpt: Excerpt) -> list[RecognizedWord]:
    """Return the words of one channel, segmented at silences."""
    source: BinaryIO = (
        io.BytesIO(excerpt.content)
        if isinstance(excerpt.content, bytes)
        else excerpt.content.open("rb")
    )
    with source, contextlib.closing(PcmStream(source, excerpt)) as pcm:
        segmenter = pocketsphinx.Segmenter(sample_rate=SAMPLE_RATE)
        return [
            word
            for segment in segmenter.segment(pcm)
            for word in _decode(segment.pcm, segment.start_time)
        ]


class PcmStream:
    """File-like source of 16 kHz mono samples, decoded while read.

    Long recordings are never in memory as a whole.
    """

    def __init__(self, source: BinaryIO, excerpt: Excerpt) -> None:
        self._container = _open(source, excerpt.raw)
        self._track = self._container.streams.audio[0]
        self._plane = excerpt.channel or 0
        layout = "mono" if excerpt.channel is None else None
        self._resampler = av.AudioResampler("s16p", layout=layout, rate=SAMPLE_RATE)
        self._chunks = self._decode()
        self._buffer = bytearray()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end."""
        while len(self._buffer) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._buffer += chunk
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def close(self) -> None:
        """Close the decoder; the source stays open."""
        self._container.close()

    def _decode(self) -> Iterator[bytes]:
        for packet in self._container.demux(self._track):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue  # skip a damaged packet
            for frame in frames:
                yield from self._resample(frame)
        yield from self._resample(None)

    def _resample(self, frame: av.AudioFrame | None) -> Iterator[bytes]:
        for resampled in self._resampler.resample(frame):
            length = resampled.samples * _SAMPLE_BYTES
            yield bytes(resampled.planes[self._plane])[:length]


def _open(
    source: BinaryIO, raw: options.RawFormat | None
) -> av.container.InputContainer:
    if raw is None or raw.encoding not in audio.RAW_FORMATS:
        return av.open(source, mode="r", options=audio.OPEN_OPTIONS)
    name, _ = audio.RAW_FORMATS[raw.encoding]
    layout = {"sample_rate": str(raw.sample_rate), "ch_layout": f"{raw.channels}c"}
    return av.open(
        source, mode="r", format=name, options={**audio.OPEN_OPTIONS, **layout}
    )


def _decode(pcm: bytes, offset: float) -> Iterator[RecognizedWord]:
    decoder = _Process.decoder
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    yield from read_words(decoder, offset)


def open_decoder() -> Any:
    """Return a decoder with the bundled model; takes most of a second."""
    return pocketsphinx.Decoder(samprate=SAMPLE_RATE, bestpath=True, loglevel="FATAL")


def read_words(decoder: Any, offset: float) -> Iterator[RecognizedWord]:
    """Yield the words of the decoder's current utterance."""
    for segment in decoder.seg() or ():
        if _SILENT.match(segment.word):
            continue
        yield RecognizedWord(
            text=_VARIANT.sub("", segment.word),
            start=round(offset + segment.start_frame / FRAMES_PER_SECOND, 3),
            end=round(offset + (segment.end_frame + 1) / FRAMES_PER_SECOND, 3),
            # Posteriors slightly over 1 occur.
            confidence=round(min(max(segment.prob, 0.0), 1.0), 4),
        )
