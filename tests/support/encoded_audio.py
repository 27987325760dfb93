"""Sound in every form a live client may send it."""

import fractions
import io
from collections.abc import Iterator

import av
from av.audio.frame import AudioFrame

RATE = 48_000
_FRAME = 960


def frames(pcm: bytes, channels: int = 1) -> Iterator[AudioFrame]:
    """Yield samples of 48 kHz as frames of 20 ms."""
    layout = "stereo" if channels == 2 else "mono"
    size = _FRAME * 2 * channels
    for number, at in enumerate(range(0, len(pcm) - size + 1, size)):
        frame = AudioFrame(format="s16", layout=layout, samples=_FRAME)
        frame.planes[0].update(
            pcm[at : at + size].ljust(frame.planes[0].buffer_size, b"\0")
        )
        frame.sample_rate, frame.time_base = RATE, fractions.Fraction(1, RATE)
        frame.pts = number * _FRAME
        yield frame


def encode(pcm: bytes, container: str, codec: str, channels: int = 1) -> bytes:
    """Return the samples in a container."""
    file = io.BytesIO()
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(
        file, "w", format=container, options=options if container == "mp4" else {}
    ) as out:
        layout = "stereo" if channels == 2 else "mono"
        track = out.add_stream(codec, rate=RATE, layout=layout)
        for frame in frames(pcm, channels):
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return file.getvalue()


def opus_packets(pcm: bytes) -> list[bytes]:
    """Return bare packets of Opus."""
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = RATE, "mono", "s16"
    packets = [bytes(p) for frame in frames(pcm) for p in codec.encode(frame)]
    return packets + [bytes(p) for p in codec.encode(None)]


def compand(samples: bytes, codec: str) -> tuple[bytes, bytes]:
    """Return samples of 8 kHz as one byte each, and what they sound like then."""
    frame = AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
    frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
    frame.sample_rate = 8000
    contexts = [av.CodecContext.create(codec, mode) for mode in "wr"]
    for context in contexts:
        context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    packets = contexts[0].encode(frame)
    heard = [f for packet in packets for f in contexts[1].decode(packet)]
    return (
        b"".join(map(bytes, packets)),
        b"".join(bytes(f.planes[0])[: f.samples * 2] for f in heard),
    )


def decode(sound: bytes, layout: str | None = None) -> tuple[bytes, int, int]:
    """Return what a decoder of its own makes of it: samples, rate, channels."""
    resampler = av.AudioResampler("s16", layout=layout)
    pieces: list[bytes] = []
    rate = channels = 0
    with av.open(io.BytesIO(sound)) as container:
        for frame in container.decode(audio=0):
            for piece in resampler.resample(frame):
                rate, channels = piece.sample_rate, len(piece.layout.channels)
                pieces.append(bytes(piece.planes[0])[: piece.samples * 2 * channels])
    return b"".join(pieces), rate, channels
