"""Generates and checks the demo's speech; needed only when `truth.json` changes.

    apt-get install flite sox
    python -m tests.support.demo_speech           # generate the files
    python -m tests.support.demo_speech --check   # recognize them, print the error rate

The check uses the unmodified pocketsphinx model; the sentences were chosen for clear
pronunciation.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
from pocketsphinx import Decoder

from workers.demo import corpus
from workers.demo.corpus import Recording

RATE = 16_000
# Formats that Debian's sox cannot write.
CODECS = {".m4a": ("aac", "fltp"), ".mp3": ("libmp3lame", "s16p")}


def make(recording: Recording) -> None:
    """Synthesize the texts, one channel per voice, and encode them."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            _speak(text, voice, Path(folder, f"{index}.wav"))
            for index, (text, voice) in enumerate(
                zip(recording.texts, recording.voices, strict=True)
            )
        ]
        mixed = Path(folder, "mixed.wav")
        if recording.is_stereo:
            first, second = lines
            delayed = Path(folder, "delayed.wav")
            _sox(second, delayed, "pad", f"{_seconds(first):.3f}")
            _sox("-M", first, delayed, mixed)
        else:
            mixed = lines[0]
        write = _encode if recording.path.suffix in CODECS else _sox
        write(mixed, recording.path)


def make_broken() -> None:
    """Write a file with a WAV header and no audio."""
    words = b"This is a sentence and no sound. " * 60
    no_format = _chunk(b"fmt ", bytes(16))  # no codec, no channels, no rate
    corpus.BROKEN.write_bytes(
        _chunk(b"RIFF", b"WAVE" + no_format + _chunk(b"data", words))
    )


def check() -> None:
    """Recognize every file and print the word error rates."""
    decoder = Decoder(samprate=RATE, loglevel="FATAL")
    truths: list[str] = []
    heard: list[str] = []
    started = time.process_time()
    for recording in corpus.recordings():
        found = [_recognize(decoder, sound) for sound in _channels(recording.path)]
        rate = corpus.word_error_rate([*recording.texts], found)
        _print(f"{recording.path.name:<16} {rate:6.1%}  {' / '.join(found)}")
        truths += recording.texts
        heard += found
    pooled = corpus.word_error_rate(truths, heard)
    _print(f"pooled {pooled:.1%}, {time.process_time() - started:.1f} s of CPU")


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content


def _speak(text: str, voice: str, target: Path) -> Path:
    raw = target.with_suffix(".raw.wav")
    subprocess.run(
        ("flite", "-voice", voice, "-t", text, "-o", raw),
        check=True,
    )
    plain = ("-r", str(RATE), "-c", "1", "-b", "16")
    _sox("-R", raw, *plain, target, "gain", "-n", "-3", "pad", "0.2", "0.3")
    return target


def _sox(*arguments: str | Path) -> None:
    subprocess.run(("sox", *arguments), check=True)


def _encode(source: Path, target: Path) -> None:
    codec, sample_format = CODECS[target.suffix]
    with av.open(source) as sound, av.open(target, "w") as output:
        channels = sound.streams.audio[0].channels
        stream = output.add_stream(codec, rate=RATE)
        stream.layout = "stereo" if channels > 1 else "mono"
        stream.format = sample_format
        stream.bit_rate = 64_000
        for frame in sound.decode(audio=0):
            frame.pts = None
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _seconds(path: Path) -> float:
    with av.open(path) as sound:
        return (sound.duration or 0) / av.time_base


def _channels(path: Path) -> list[bytes]:
    """Decode a file into 16 kHz 16-bit samples, one byte string per channel."""
    with av.open(path) as sound:
        names = sound.streams.audio[0].layout.channels
        resampler = av.AudioResampler(format="s16p", rate=RATE)
        parts: list[list[bytes]] = [[] for _ in names]
        for frame in [*sound.decode(audio=0), None]:
            for resampled in resampler.resample(frame):
                for index, plane in enumerate(resampled.planes):
                    parts[index].append(bytes(plane)[: resampled.samples * 2])
    return [b"".join(part) for part in parts]


def _recognize(decoder: Decoder, samples: bytes) -> str:
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()
    words = [segment.word.split("(")[0] for segment in decoder.seg()]
    return " ".join(word for word in words if word and word[0] not in "<[+")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    if "--check" in sys.argv:
        check()
    else:
        for recording in corpus.recordings():
            # meeting.mp4 is council.wav with pictures; pedido.mp3 was spoken by
            # `espeak-ng -v es -s 150`.
            if recording.is_judged and recording.path.suffix != ".mp4":
                make(recording)
        make_broken()
