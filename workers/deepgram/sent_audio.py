"""What is uploaded of a stored file: all of it, or one audio track.

Deepgram transcribes audio only, so the pictures of a video are not sent. The track is
copied, not encoded again.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from django.conf import settings

from jobs.audio import track_copy
from transcripts.backends import StoredAudio
from workers.deepgram import errors

ALWAYS, SAVING, NEVER = "always", "saving", "never"
# With ``saving``, a copy is sent if it is at least a fifth smaller.
MAX_SHARE = 0.8
_CHUNK_BYTES = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAudio:
    """An open file to upload, its size and type."""

    file: IO[bytes]
    size_bytes: int
    content_type: str


@contextmanager
def open_audio(source: StoredAudio, options: Mapping[str, Any]) -> Iterator[SentAudio]:
    """Open the stored file, or a copy of its audio track.

    Raises UpstreamError: final if the file is missing or has no such track, retryable
    if storage is down.
    """
    with ExitStack() as stack:
        whole = stack.enter_context(closing(open_stored(source)))
        track = options.get("audio_track")
        has_video = source.content_type.startswith("video/")
        copy = None
        if track is not None or (has_video and settings.SEND_AUDIO_ONLY != NEVER):
            is_needed = track is not None or settings.SEND_AUDIO_ONLY == ALWAYS
            copy = _copy(
                stack,
                whole,
                track=track or 1,
                max_bytes=int(source.size_bytes * (1 if is_needed else MAX_SHARE)),
            )
            if copy is None and (track or 1) > 1:
                message = f"Audio track {track} of the file cannot be read."
                raise errors.build_error("audio_unreadable", message)
            whole.seek(0)
        content_type = source.content_type or "application/octet-stream"
        yield copy or SentAudio(
            file=whole,
            size_bytes=source.size_bytes,
            # The parts of a type such as video/* are not known.
            content_type=content_type.replace("/*", "/mp4"),
        )


def open_stored(source: StoredAudio) -> IO[bytes]:
    """Open an upload.

    Raises UpstreamError: final if the file is missing, retryable if storage is down.
    """
    try:
        return source.open()
    except FileNotFoundError as error:
        raise errors.build_error("audio_missing") from error
    except OSError as error:
        raise errors.build_error("storage_unavailable") from error


def _copy(
    stack: ExitStack, whole: IO[bytes], *, track: int, max_bytes: int
) -> SentAudio | None:
    output = stack.enter_context(closing(TemporaryFile()))  # noqa: SIM115
    try:
        with _with_descriptor(whole) as file:
            size = track_copy.copy_track(file, output, track=track, max_bytes=max_bytes)
    except OSError as error:
        raise errors.build_error("storage_unavailable") from error
    if size is None:
        return None
    output.seek(0)
    content_type = track_copy.name_type(output.read(4))
    output.seek(0)
    return SentAudio(file=output, size_bytes=size, content_type=content_type)


@contextmanager
def _with_descriptor(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the file, or a copy on disk if it is in memory or comes over a network."""
    try:
        file.fileno()
    except (AttributeError, OSError):
        with TemporaryFile() as local:
            while chunk := file.read(_CHUNK_BYTES):
                local.write(chunk)
            local.flush()
            yield local
    else:
        yield file
