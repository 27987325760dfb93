"""Copy one audio track of a file to another container, without decoding it.

Imports nothing of Django: it runs in the probe's child.
"""

from typing import Any, Protocol

import av


class Output(Protocol):
    """Where the bytes go; it cannot seek."""

    def write(self, data: bytes, /) -> int:
        """Write all of the data."""


def copy_track(container: Any, number: int, output: Output) -> None:
    """Copy the audio track with this number, from 1; its first sample is at zero.

    Raises FFmpegError or ValueError if the container cannot hold the codec.
    """
    streams = [each for each in container.streams.audio if each.codec_context]
    stream = streams[number - 1]
    with av.open(output, "w", format=_choose_format(stream)) as muxer:
        target = muxer.add_stream_from_template(stream)
        start: int | None = None
        end = 0
        for packet in container.demux(stream):
            pts = packet.dts if packet.pts is None else packet.pts
            # An MP4 file marks the packets of the encoder's delay; other containers
            # state the delay, and Matroska passes it on.
            if not packet.size or pts is None or packet.is_discard:
                continue
            start = max(pts, 0) if start is None else start
            if pts - start < end - 1:  # a chained stream begins at zero again
                start = pts - end
            packet.pts = packet.dts = pts - start
            end = packet.pts + (packet.duration or 0)
            packet.stream = target
            muxer.mux(packet)


def _choose_format(stream: Any) -> str:
    """Return Matroska, which holds any codec and is written from start to end.

    AAC of a transport stream has a header in each packet, which Matroska cannot hold.
    """
    context = stream.codec_context
    has_headers = context.name in {"aac", "aac_latm"} and not context.extradata
    return "adts" if has_headers else "matroska"
