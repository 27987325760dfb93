"""Measure the audio tracks of a file with FFmpeg, packet by packet.

Durations are the sum of a track's packets, so that start times, gaps and chained
streams do not matter. Silence is what the decoder returns, for each channel alone.
Imports nothing of Django: it runs in the probe's child.
"""

import struct
import time
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import av

PACKETS_TO_DECODE = 20
# Each track is decoded up to the first sound, which most files have after a second or
# two. After a minute of silence, a second of every thirty is decoded.
SECONDS_TO_DECODE = 60.0
SAMPLE_INTERVAL_SECONDS = 30
DECODE_SECONDS = 1.5  # of processor time, for all tracks together
CLOCK_INTERVAL = 8  # packets between two looks at the clock
SOUND_PEAK = 600  # of 32768: -35 dB, above a quiet room and below any speech
# More than the padding of any encoder, less than the missing part of a cut file.
TOLERANCE_SECONDS = 0.5
TOLERANCE_SHARE = 0.02
# Formats without a duration in the header: FFmpeg estimates it from the bit rate. In
# AVI it includes the time before the start.
ESTIMATED = frozenset(
    {"aac", "ac3", "amr", "avi", "dts", "eac3", "gsm", "mp3", "mpeg", "mpegts", "ogg"}
)
# Formats in which the duration of the header counts from zero, not from the start.
_ABSOLUTE = frozenset({"ogg", "matroska,webm"})
# A declared length of a file that is too long to read is plausible within this share.
_PLAUSIBLE_SHARE = 0.25
MAX_TITLE = 60
# Side data of packets: samples to leave out at their start and at their end.
_SKIPPED = "skip_samples"
_SKIPPED_SAMPLES = struct.Struct("<II")


@dataclass(slots=True)
class TrackScan:
    """What was read of one audio track so far."""

    stream: Any
    # In units of the stream's time base: fractions cost most of the time of a scan.
    ticks: int = 0
    # The encoder's delay and padding, which decoders leave out: the part before zero,
    # or what the container says of it.
    delay_ticks: int = 0
    delay_samples: int = 0
    padding_samples: int = 0
    _last_duration: int = 0
    # Packets whose duration the container does not state.
    unknown: int = 0
    decoded: int = 0
    broken: int = 0
    decoded_seconds: float = 0.0
    has_sound: bool = False
    is_all_decoded: bool = True
    _resampler: Any = None

    @property
    def seconds(self) -> float:
        """The sum of the durations that the packets state."""
        return float(self.ticks * self.stream.time_base)

    @property
    def unheard_seconds(self) -> float:
        """The delay and padding."""
        rate = self.stream.codec_context.sample_rate or 1
        delay = float(self.delay_ticks * self.stream.time_base)
        return max(delay, self.delay_samples / rate) + self.padding_samples / rate

    @property
    def duration_seconds(self) -> float:
        """The duration of the packets; unknown ones count like those decoded."""
        mean = self.decoded_seconds / self.decoded if self.decoded else 0.0
        return max(0.0, self.seconds + self.unknown * mean - self.unheard_seconds)

    @property
    def is_silent(self) -> bool | None:
        """Whether all audio is silent; None if not all of it was decoded."""
        if self.has_sound:
            return False
        return True if self.is_all_decoded and self.decoded else None

    @property
    def is_at_start(self) -> bool:
        """Whether its first packets are still to be decoded."""
        return self.decoded + self.broken < PACKETS_TO_DECODE

    @property
    def needs_decoding(self) -> bool:
        """Whether to look for sound in the next packet."""
        is_sample = int(self.seconds) % SAMPLE_INTERVAL_SECONDS == 0
        return not self.has_sound and (
            is_sample or self.decoded_seconds < SECONDS_TO_DECODE
        )

    def count(self, packet: Any) -> None:
        """Add a packet's duration."""
        if (pts := packet.pts) is not None and pts < -self.delay_ticks:
            self.delay_ticks = -pts
        if packet.has_sidedata(_SKIPPED):
            start, end = _SKIPPED_SAMPLES.unpack_from(packet.get_sidedata(_SKIPPED))
            self.delay_samples += start
            # Some demuxers have shortened the packet already.
            is_full = packet.duration == self._last_duration
            self.padding_samples += end if is_full else 0
        self._last_duration = packet.duration or 0
        if duration := packet.duration:
            self.ticks += duration
        else:
            self.unknown += 1

    def decode(self, packet: Any) -> None:
        """Decode a packet; errors count at the start, where no packet was left out."""
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.broken += self.is_all_decoded
            return
        self.decoded += any(frame.samples for frame in frames)
        for frame in frames:
            self.decoded_seconds += frame.samples / frame.sample_rate
            if not self.has_sound:
                self.has_sound = self._find_peak(frame) > SOUND_PEAK

    def _find_peak(self, frame: Any) -> int:
        """Return the loudest sample of any channel: a sum could cancel them out."""
        peak = 0
        for plain in self._convert(frame):
            for plane in plain.planes:
                samples = array("h", bytes(plane)[: plain.samples * 2])
                peak = max(peak, max(samples, default=0), -min(samples, default=0))
        return peak

    def _convert(self, frame: Any) -> Iterable[Any]:
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="s16p")
        try:
            return list(self._resampler.resample(frame))
        except ValueError:  # a chained stream has another layout or rate
            self._resampler = av.AudioResampler(format="s16p")
            return list(self._resampler.resample(frame))


@dataclass(slots=True)
class MediaScan:
    """What was read of a file: its audio tracks, and how much of it."""

    tracks: dict[int, TrackScan] = field(default_factory=dict)
    # The last time stamp of each stream, video too, in units of its time base.
    end_ticks: dict[int, int] = field(default_factory=dict)
    last_position: int = 0
    is_whole: bool = True
    is_broken: bool = False
    _decoding_seconds: float = 0.0

    def take(self, packet: Any) -> None:
        """Count a packet, and decode it if its track needs that."""
        index, size = packet.stream_index, packet.size
        if (pts := packet.pts) is not None:
            end = pts + (packet.duration or 0)
            if end > self.end_ticks.get(index, 0):
                self.end_ticks[index] = end
        track = self.tracks.get(index)
        if track is None:
            return
        if size:
            self.last_position = packet.pos or self.last_position
            track.count(packet)
        if not track.has_sound or track.is_at_start:
            self._decode(track, packet)

    def _decode(self, track: TrackScan, packet: Any) -> None:
        has_time = self._decoding_seconds < DECODE_SECONDS
        if track.is_at_start or (track.needs_decoding and has_time):
            began = time.thread_time()
            track.decode(packet)
            self._decoding_seconds += time.thread_time() - began
        elif packet.size:
            track.is_all_decoded = False

    def find_end(self, *streams: Any) -> float:
        """Return the last time stamp of these streams, in seconds."""
        ends = (self.end_ticks.get(each.index, 0) * each.time_base for each in streams)
        return float(max(ends, default=0))


def scan_packets(container: Any, *, seconds: float) -> MediaScan:
    """Read packets for at most this long, and decode the first of each track."""
    scan = MediaScan()
    for stream in container.streams.audio:
        if stream.codec_context is not None:
            stream.codec_context.thread_count = 1
            scan.tracks[stream.index] = TrackScan(stream)
    give_up = time.monotonic() + seconds
    try:
        for number, packet in enumerate(container.demux(), start=1):
            scan.take(packet)
            if number % CLOCK_INTERVAL == 0 and time.monotonic() > give_up:
                scan.is_whole = False
                break
    except av.ExitError:
        scan.is_whole = False
    except av.FFmpegError:
        # Unreadable from here on; the end so far shows whether the file is cut off.
        scan.is_broken = True
    return scan


def read_declared_seconds(container: Any, stream: Any) -> float | None:
    """Return the duration in the header: the stream's, or the container's."""
    declared = container.duration / av.time_base if container.duration else None
    if stream.duration:
        declared = float(stream.duration * stream.time_base)
    if declared and stream.start_time and container.format.name in _ABSOLUTE:
        declared -= float(stream.start_time * stream.time_base)
    return declared if declared and declared > 0 else None


def is_cut_off(
    container: Any, scan: MediaScan, track: TrackScan, *, tag_seconds: float | None
) -> bool:
    """Return whether the audio ends before the header says that it does.

    ``tag_seconds`` is the length in the tag of an MP3 file.
    """
    found = max(scan.find_end(track.stream), track.duration_seconds)
    declared = tag_seconds if container.format.name == "mp3" else None
    if container.format.name not in ESTIMATED:
        if track.stream.duration:
            declared = float(track.stream.duration * track.stream.time_base)
        elif container.duration:
            declared = container.duration / av.time_base
            timed = [each for each in container.streams if each.time_base]
            found = max(found, scan.find_end(*timed))
    if not declared:
        return False
    return found < declared - max(TOLERANCE_SECONDS, TOLERANCE_SHARE * declared)


def estimate_seconds(
    container: Any, scan: MediaScan, track: TrackScan, *, size: int
) -> float | None:
    """Return the duration of a file that was not read to its end.

    The length in its index, or, in formats without one, that of the part read scaled to
    the whole file, unless its first and last time stamps agree with that.
    """
    declared = read_declared_seconds(container, track.stream)
    if declared and container.format.name not in ESTIMATED:
        return declared
    if not scan.last_position:
        return declared
    scaled = track.duration_seconds * size / scan.last_position
    is_plausible = declared and abs(declared - scaled) <= _PLAUSIBLE_SHARE * scaled
    return declared if is_plausible else scaled


def choose_track(tracks: list[TrackScan]) -> TrackScan:
    """Return the first track with sound; without any, the first that was decoded."""
    readable = [track for track in tracks if track.decoded] or tracks
    return next((track for track in readable if track.has_sound), readable[0])


def has_video(container: Any) -> bool:
    """Return whether there is moving video; a cover picture is none."""
    picture = av.stream.Disposition.attached_pic
    return any(not each.disposition & picture for each in container.streams.video)


def describe_track(number: int, track: TrackScan) -> dict[str, Any]:
    """Return what a customer needs to recognize a track, counted from 1."""
    context, tags = track.stream.codec_context, track.stream.metadata
    return {
        "number": number,
        "codec": context.name,
        "channels": context.channels,
        "title": _clean(tags.get("title") or tags.get("handler_name") or ""),
        "language": _clean(tags.get("language") or ""),
        "is_silent": track.is_silent,
    }


def _clean(text: str) -> str:
    return "".join(_printable(text))[:MAX_TITLE]


def _printable(text: str) -> Iterator[str]:
    return (each for each in text if each.isprintable())
