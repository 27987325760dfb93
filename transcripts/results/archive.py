"""All transcripts of a batch in one zip file, made while it is sent.

By the standard library's zipfile on a sink that is emptied as it fills: what stays in
memory is one transcript, and about a kilobyte a file for the directory at the end. More
than 65,535 files, or 4 GiB, make it a ZIP64 file (APPNOTE.TXT, 4.3.9.2 and 4.3.14).
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
from transcripts.results.lines import PIECE_BYTES, encode_line
from transcripts.results.names import FileNames, wish_of

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
_SPOOL_BYTES = 1024 * 1024
_READABLE = 0o644 << 16
# A document that cannot be read costs its own file, not all the others.
_UNREADABLE = (BadGzipFile, EOFError, zlib.error, ValueError)


class NotArchived(Exception):
    """There is no file for this job; the argument says why."""


class ZipBuffer:
    """What zipfile writes to: kept until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, part: bytes) -> int:
        """Keep the part."""
        self._parts.append(bytes(part))
        self.size += len(part)
        return len(part)

    def flush(self) -> None:
        """Do nothing: zipfile asks for it."""

    def take(self) -> bytes:
        """Return all that was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return taken


def write_archive(batch: Batch, chosen: Format) -> Iterator[bytes]:
    """Yield the zip file: a file a transcript, then a manifest of them all.

    What was erased has no file, and the manifest says so.
    """
    sink, names = ZipBuffer(), FileNames(chosen.extension)
    folder = settings.INCOMING_ROOT
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with SpooledTemporaryFile(_SPOOL_BYTES, dir=str(folder)) as manifest:
        with ZipFile(sink, "w", ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
            for job in rows.read_completed(batch, has_texts=True):
                manifest.write(_add(archive, names, job, chosen))
                if sink.size >= PIECE_BYTES:
                    yield sink.take()
            manifest.seek(0)
            with archive.open(_entry(MANIFEST, None), "w") as entry:
                copyfileobj(manifest, entry)
        yield sink.take()


def _add(archive: ZipFile, names: FileNames, job: Job, chosen: Format) -> bytes:
    """Add the job's file; return its line of the manifest."""
    name, reason = None, None
    try:
        content = _build(job, chosen)
    except NotArchived as left_out:
        reason = str(left_out)
    else:
        wish = wish_of(
            custom_id=job.custom_id, filename=job.filename, audio_url=job.audio_url
        )
        name = names.choose(wish, job.pk)
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
    transcript = rows.transcript_of(job)
    if transcript is None:
        raise NotArchived("missing")
    try:
        return services.build_format(transcript, chosen)
    except FileNotFoundError as error:  # erased since the page was read, perhaps
        raise NotArchived("missing") from error
    except _UNREADABLE as error:
        logger.exception("document unreadable", extra={"job_id": job.pk})
        raise NotArchived("unreadable") from error


def _entry(name: str, job: Job | None) -> ZipInfo:
    """Describe a file: from when it is (UTC), and that anybody may read it."""
    made = job.finished_at if job and job.finished_at else timezone.now()
    entry = ZipInfo(name, made.timetuple()[:6])
    entry.compress_type = ZIP_DEFLATED
    entry.external_attr = _READABLE
    return entry
