"""Take an upload from the socket to storage without ever holding it in memory.

Streamed to a file beside the media (hashed on the way), probed there by others, and
kept by a rename. Until it is kept the file removes itself when it is closed.
"""

import errno
import fcntl
import hashlib
import os
import re
import tempfile
import time
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.db import InterfaceError, OperationalError
from rest_framework.exceptions import UnsupportedMediaType

from jobs.audio import spool_space
from jobs.errors import InvalidRequest, ServiceUnavailable, UploadTooLarge
from jobs.models import new_id
from jobs.strict_json import pointer_to

FILE_FIELD = "file"
# What a form's other fields and its boundaries may add to the file.
FORM_OVERHEAD_BYTES = 2 * 1024**2
_SAFE_NAME_LENGTH = 100
_AUDIO_TYPES = ("", "application/octet-stream", "application/ogg", "application/mp4")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIX = ".upload"
# A file is there for an instant before it is locked.
_UNLOCKED_SECONDS = 60.0


class IncomingFile(UploadedFile):  # type: ignore[type-arg]  # in stubs only
    """An upload on disk that nobody has promised to keep yet."""

    def __init__(
        self, name: str, content_type: str, *, request: Any = None, announced: int = 0
    ) -> None:
        settings.INCOMING_ROOT.mkdir(mode=0o750, parents=True, exist_ok=True)
        purge_abandoned_uploads(settings.INCOMING_ROOT)
        owner = getattr(getattr(request, "user", None), "pk", None)
        release = spool_space.reserve(owner, announced, settings.INCOMING_ROOT)
        self._release = weakref.finalize(self, release)
        self._disk = tempfile.NamedTemporaryFile(  # noqa: SIM115  closed with the request
            dir=settings.INCOMING_ROOT, suffix=_SUFFIX
        )
        fcntl.flock(self._disk, fcntl.LOCK_SH)
        super().__init__(self._disk, name[-255:], content_type, 0)
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of what was written, in hex."""
        return self._hash.hexdigest()

    def temporary_file_path(self) -> str:
        """Return where it lies; storages on the same disk rename it from there."""
        return str(self._disk.name)

    def append(self, chunk: bytes) -> None:
        """Write the next bytes; a full disk is ours, not the caller's, fault."""
        try:
            self._disk.write(chunk)
        except OSError as error:
            _refuse_full_disk(error)
        self._hash.update(chunk)
        self.size = (self.size or 0) + len(chunk)

    def settle(self) -> None:
        """Put what was written on the disk itself: a 202 must survive a power cut."""
        try:
            self._disk.flush()
            os.fsync(self._disk.fileno())
        except OSError as error:
            _refuse_full_disk(error)
        self._disk.seek(0)

    def close(self) -> None:
        """Close it, and remove it unless it was kept."""
        self._release()
        try:
            self._disk.close()
        except FileNotFoundError:
            return  # it was moved into storage


@cache
def purge_abandoned_uploads(folder: Path) -> None:
    """Remove what processes that were killed left of uploads, once a process.

    Whoever still writes one holds its lock, on whatever machine.
    """
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError), path.open("rb") as file:
            if time.time() - path.stat().st_mtime > _UNLOCKED_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


class NoFileHandler(FileUploadHandler):
    """Keep no file of a form, which is all that pages take: they have no uploads."""

    def new_file(self, *part: Any, **named: Any) -> None:
        """Skip the file's bytes."""
        super().new_file(*part, **named)
        raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Keep nothing."""

    def file_complete(self, file_size: int) -> None:
        """Return no file."""


class CappedUploadHandler(FileUploadHandler):
    """Stream the one file of a form to disk, no further than ``UPLOAD_MAX_BYTES``."""

    chunk_size = 1024**2

    @property
    def max_bytes(self) -> int:
        """How large the file may be."""
        limit: int = settings.UPLOAD_MAX_BYTES
        return limit

    def check_type(self, content_type: str) -> None:
        """Refuse what cannot be audio."""
        if not _may_be_audio(content_type):
            raise UnsupportedMediaType(content_type)

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self.file: IncomingFile | None = None
        self._announced = 0

    def handle_raw_input(
        self,
        input_data: Any,  # noqa: ARG002  Django's signature, here and below
        META: dict[str, str],  # noqa: ARG002
        content_length: int,
        boundary: Any,  # noqa: ARG002
        encoding: str | None = None,  # noqa: ARG002
    ) -> None:
        """Refuse by the announced length, before anything is read."""
        if content_length > self.max_bytes + FORM_OVERHEAD_BYTES:
            refuse_size(self.max_bytes)
        self._announced = content_length

    def new_file(
        self, field_name: str, file_name: str, content_type: str, *rest: Any
    ) -> None:
        """Open a file for the part, if it is the one we take."""
        super().new_file(field_name, file_name, content_type, *rest)
        if field_name != FILE_FIELD or self.file is not None:
            message = f"A form has one file, in the field '{FILE_FIELD}'."
            raise InvalidRequest(
                message, code="field_unknown", pointer=pointer_to(field_name)
            )
        self.check_type(content_type.lower())
        self.file = IncomingFile(
            file_name, content_type, request=self.request, announced=self._announced
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write a chunk."""
        if self.file is None or start + len(raw_data) > self.max_bytes:
            refuse_size(self.max_bytes)
        self.file.append(raw_data)

    def file_complete(self, file_size: int) -> IncomingFile | None:  # noqa: ARG002
        """Return the whole file."""
        if self.file is not None:
            self.file.settle()
        return self.file

    def upload_interrupted(self) -> None:
        """Refuse a form that ended inside its file."""
        self.discard()
        message = "The form ends before its file does: the upload was cut."
        raise InvalidRequest(message, code="body_truncated")

    def discard(self) -> None:
        """Remove what was written."""
        if self.file is not None:
            self.file.close()


def keep_upload(file: IncomingFile, *, tenant_id: UUID) -> str:
    """Move the file into storage and return its name there.

    On one disk this is a rename. Whoever calls this deletes the object again
    (``discard_upload``) if no row comes to name it.
    """
    file.seek(0)
    name = f"audio/{tenant_id}/{new_id()}/{safe_name(file.name or '')}"
    kept = default_storage.save(name, file)
    if isinstance(default_storage, FileSystemStorage):
        _settle_folders(Path(default_storage.path(kept)).parent)
    return kept


def discard_upload(name: str) -> None:
    """Delete a kept object and the folder made for it."""
    default_storage.delete(name)
    if isinstance(default_storage, FileSystemStorage):
        Path(default_storage.path(name)).parent.rmdir()


def is_outcome_unknown(error: BaseException) -> bool:
    """Tell whether a transaction that ended in this error may have been committed.

    A connection lost during COMMIT says neither; the server's own errors carry a
    SQLSTATE and mean that nothing was written.
    """
    lost = isinstance(error, OperationalError | InterfaceError)
    return lost and getattr(error.__cause__, "sqlstate", None) is None


def safe_name(name: str) -> str:
    """Return a file name that any storage takes, its extension kept."""
    path = PurePosixPath(_UNSAFE.sub("_", name).lstrip("._-") or "audio")
    return path.stem[: _SAFE_NAME_LENGTH - 16] + path.suffix[:16]


def _may_be_audio(content_type: str) -> bool:
    kind = content_type.lower()
    return kind in _AUDIO_TYPES or kind.startswith(("audio/", "video/"))


def _settle_folders(folder: Path) -> None:
    """Make the rename itself survive a power cut, new parent folders included."""
    for place in (folder, folder.parent, folder.parent.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_size(size_bytes: int) -> None:
    """Raise UploadTooLarge for a file larger than ``UPLOAD_MAX_BYTES``."""
    if size_bytes > settings.UPLOAD_MAX_BYTES:
        refuse_size(settings.UPLOAD_MAX_BYTES)


def refuse_size(limit: int) -> NoReturn:
    """Say that the file is too large."""
    raise UploadTooLarge(f"The file is larger than {limit} bytes.")


def _refuse_full_disk(error: OSError) -> NoReturn:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        raise ServiceUnavailable("There is no room for uploads now.") from error
    raise error
