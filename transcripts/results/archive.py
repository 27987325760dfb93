"""All transcripts of a batch in one zip file, streamed while it is built.

zipfile writes to a buffer that is emptied as it fills. Memory holds one transcript, and
about 1 kB per file for the central directory. More than 65,535 files or 4 GiB produce a
ZIP64 file (APPNOTE.TXT, 4.3.9.2 and 4.3.14).
"""

import logging
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.conf import settings
from django.utils import timezone

from jobs.models import Batch, Job
from transcripts import services
from transcripts.formats import Format
from transcripts.results import rows
from transcripts.results.lines import CHUNK_BYTES, encode_line
from transcripts.results.names import FileNames, choose_stem

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
_SPOOL_BYTES = 1024 * 1024
_READABLE = 0o644 << 16
# An unreadable document is omitted; the other files are not affected.
_UNREADABLE = (BadGzipFile, EOFError, zlib.error, ValueError)


class NotArchived(Exception):
    """The job has no file in the archive; the argument is the reason."""


class ZipBuffer:
    """The output buffer of zipfile."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, part: bytes) -> int:
        """Append the part."""
        self._parts.append(bytes(part))
        self.size += len(part)
        return len(part)

    def flush(self) -> None:
        """Do nothing; zipfile requires it."""

    def take(self) -> bytes:
        """Return and remove the content."""
        content = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return content


def write_archive(batch: Batch, chosen: Format) -> Iterator[bytes]:
    """Yield the zip file: one file per transcript, then the manifest.

    The manifest also lists the omitted jobs, for example erased ones.
    """
    sink, names = ZipBuffer(), FileNames(chosen.extension)
    folder = settings.INCOMING_ROOT
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with SpooledTemporaryFile(_SPOOL_BYTES, dir=str(folder)) as manifest:
        with ZipFile(sink, "w", ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
            for job in rows.read_completed(batch, has_texts=True):
                manifest.write(_add_file(archive, names, job, chosen))
                if sink.size >= CHUNK_BYTES:
                    yield sink.take()
            manifest.seek(0)
            with archive.open(_entry(MANIFEST, None), "w") as entry:
                copyfileobj(manifest, entry)
        yield sink.take()


def _add_file(archive: ZipFile, names: FileNames, job: Job, chosen: Format) -> bytes:
    """Add the file of the job; return its manifest line."""
    name, reason = None, None
    try:
        content = _build(job, chosen)
    except NotArchived as error:
        reason = str(error)
    else:
        preferred = choose_stem(
            custom_id=job.custom_id, filename=job.filename, audio_url=job.audio_url
        )
        name = names.choose(preferred, job.pk)
        archive.writestr(_entry(name, job), content)
    return encode_line(
        {
            "file": name,
            "job_id": job.pk,
            "custom_id": job.custom_id or None,
            "left_out": reason,
        }
    )


def _build(job: Job, chosen: Format) -> bytes:
    if job.erased_at:
        raise NotArchived("erased")
    transcript = rows.get_transcript(job)
    if transcript is None:
        raise NotArchived("missing")
    try:
        return services.build_format(transcript, chosen)
    except FileNotFoundError as error:  # erased since the page was read
        raise NotArchived("missing") from error
    except _UNREADABLE as error:
        logger.exception("document unreadable", extra={"job_id": job.pk})
        raise NotArchived("unreadable") from error


def _entry(name: str, job: Job | None) -> ZipInfo:
    """Return a world-readable entry, dated with the end of the job (UTC)."""
    date = job.finished_at if job and job.finished_at else timezone.now()
    entry = ZipInfo(name, date.timetuple()[:6])
    entry.compress_type = ZIP_DEFLATED
    entry.external_attr = _READABLE
    return entry
