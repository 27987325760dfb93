"""Sound in any container and codec, with start times, layouts and endings."""

import fractions
import io
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import av
from av.audio.frame import AudioFrame

RATE = 16_000
_FRAME = 320
_CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}


@cache
def _tone(rate: int, volume: float, signs: tuple[int, ...]) -> "array[int]":
    """Return one second of 440 Hz, which can be repeated; one sign for each channel."""
    step, peak = 2 * math.pi * 440 / rate, 32767 * volume
    values = (int(peak * math.sin(step * index)) for index in range(rate))
    return array("h", (value * sign for value in values for sign in signs))


@cache
def _picture() -> bytes:
    """Return bytes that differ from their neighbours, enough for any plane."""
    return bytes(range(251)) * (320 * 240 * 2 // 251)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A tone; ``inverted`` makes the second channel cancel the first."""

    seconds: float = 3.0
    rate: int = RATE
    layout: str = "mono"
    volume: float = 0.3
    is_inverted: bool = False
    silent_seconds: float = 0.0

    def frames(self) -> Iterator[AudioFrame]:
        signs = (1, -1) if self.is_inverted else (1,) * _CHANNELS[self.layout]
        channels, total = len(signs), int(self.seconds * self.rate)
        samples = _tone(self.rate, self.volume, signs) * math.ceil(self.seconds)
        silent = math.ceil(self.silent_seconds * self.rate) * channels
        samples[:silent] = array("h", bytes(2 * silent))
        for at in range(0, total, _FRAME):
            number = min(_FRAME, total - at)
            frame = AudioFrame(format="s16", layout=self.layout, samples=number)
            content = samples[at * channels : (at + number) * channels].tobytes()
            frame.planes[0].update(content.ljust(frame.planes[0].buffer_size, b"\0"))
            frame.sample_rate, frame.pts = self.rate, at
            frame.time_base = fractions.Fraction(1, self.rate)
            yield frame


def make_media(
    container: str,
    *tracks: tuple[str, Sound],
    offset: float = 0.0,
    video_seconds: float = 0.0,
    titles: tuple[str, ...] = (),
    **options: str,
) -> bytes:
    """Return a file with these audio tracks, each a codec and its sound.

    All time stamps are ``offset`` seconds later; a video track may come first.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container, container_options=options) as out:
        picture = None
        if video_seconds:
            picture = out.add_stream("mpeg4", rate=5)
            picture.width, picture.height, picture.pix_fmt = 320, 240, "yuv420p"
            picture.bit_rate = 400_000
        streams = []
        for number, (codec, sound) in enumerate(tracks):
            rate = 48000 if codec == "libopus" else sound.rate
            stream = out.add_stream(codec, rate=rate, layout=sound.layout)
            if number < len(titles):
                stream.metadata["title"] = titles[number]
            streams.append((stream, sound))
        packets = list(_encode_picture(picture, video_seconds)) if picture else []
        for stream, sound in streams:
            packets += _encode(stream, sound)
        packets.sort(key=lambda packet: float(packet.dts * packet.time_base))
        for packet in packets:
            ticks = int(offset / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            out.mux(packet)
    return file.getvalue()


def _encode(stream, sound: Sound) -> list[av.Packet]:
    resampler = av.AudioResampler(
        format=stream.codec_context.format, layout=sound.layout, rate=stream.rate,
        frame_size=stream.codec_context.frame_size or None,
    )  # fmt: skip
    packets: list[av.Packet] = []
    for frame in [*sound.frames(), None]:
        for plain in resampler.resample(frame):
            packets += stream.encode(plain)
    return packets + stream.encode(None)


def _encode_picture(stream, seconds: float) -> Iterator[av.Packet]:
    for number in range(int(seconds * 5)):
        frame = av.VideoFrame(320, 240, "yuv420p")
        for index, plane in enumerate(frame.planes):
            at = (number * 7 + index) % 251
            plane.update(_picture()[at : at + plane.buffer_size])
        frame.pts = number
        yield from stream.encode(frame)
    yield from stream.encode(None)


def decoded_seconds(content: bytes, track: int = 0) -> float:
    """Return the length of the samples that a decoder returns, by itself."""
    seconds = 0.0
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.audio[track]
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            seconds += sum(frame.samples / frame.sample_rate for frame in frames)
    return seconds
