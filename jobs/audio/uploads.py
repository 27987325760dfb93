"""Stream an upload from the socket to storage, without holding it in memory.

The body is streamed to a temporary file next to the media and hashed, probed there, and
stored by a rename. Unless it is stored, closing the file deletes it.
"""

import errno
import fcntl
import hashlib
import os
import re
import tempfile
import time
import weakref
from collections.abc import Mapping
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

from jobs.audio.spool_space import SpaceReservation
from jobs.errors import InvalidRequest, ServiceUnavailable, UploadTooLarge
from jobs.models import new_id
from jobs.parsing.strict_json import pointer_to

FILE_FIELD = "file"
# Allowed for a form's other fields and its boundaries, in addition to the file.
FORM_OVERHEAD_BYTES = 2 * 1024**2
_SAFE_NAME_LENGTH = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIX = ".upload"
# The reservation of a body of unknown length grows by this.
_STEP_BYTES = 16 * 1024**2
# A new file exists for an instant before it is locked.
_UNLOCKED_SECONDS = 60.0


class IncomingFile(UploadedFile):  # type: ignore[type-arg]  # in stubs only
    """An upload in a temporary file, not stored yet; it is hashed while written."""

    def __init__(
        self, name: str, content_type: str, *, request: Any = None, announced: int = 0
    ) -> None:
        settings.INCOMING_ROOT.mkdir(mode=0o750, parents=True, exist_ok=True)
        purge_abandoned_uploads(settings.INCOMING_ROOT)
        owner = getattr(getattr(request, "user", None), "pk", None)
        self._space = SpaceReservation(owner, settings.INCOMING_ROOT)
        self._space.extend(announced)
        self._release = weakref.finalize(self, self._space.release)
        self._disk = tempfile.NamedTemporaryFile(  # noqa: SIM115  closed with the request
            dir=settings.INCOMING_ROOT, suffix=_SUFFIX
        )
        fcntl.flock(self._disk, fcntl.LOCK_SH)
        super().__init__(self._disk, name[-255:], content_type, 0)
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes written so far, in hex."""
        return self._hash.hexdigest()

    def temporary_file_path(self) -> str:
        """Return the path; storages on the same disk rename the file."""
        return str(self._disk.name)

    def append(self, chunk: bytes) -> None:
        """Write a chunk; raises ServiceUnavailable if there is no space for it."""
        if (self.size or 0) + len(chunk) > self._space.size_bytes:
            self._space.extend(max(_STEP_BYTES, len(chunk)))
        try:
            self._disk.write(chunk)
        except OSError as error:
            _refuse_full_disk(error)
        self._hash.update(chunk)
        self.size = (self.size or 0) + len(chunk)

    def sync(self) -> None:
        """Sync the file to disk, because a 202 response must survive a power cut."""
        try:
            self._disk.flush()
            os.fsync(self._disk.fileno())
        except OSError as error:
            _refuse_full_disk(error)
        self._disk.seek(0)

    def close(self) -> None:
        """Close the file, and delete it unless it was stored."""
        self._release()
        try:
            self._disk.close()
        except FileNotFoundError:
            return  # moved into storage


@cache
def purge_abandoned_uploads(folder: Path) -> None:
    """Delete the temporary files of killed processes, once per process.

    Files in use are locked by their process, on any machine.
    """
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError), path.open("rb") as file:
            if time.time() - path.stat().st_mtime > _UNLOCKED_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


class NoFileHandler(FileUploadHandler):
    """Skip the files of a form, for pages without uploads."""

    def new_file(self, *part: Any, **named: Any) -> None:
        """Skip the file's bytes."""
        super().new_file(*part, **named)
        raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Discard the chunk."""

    def file_complete(self, file_size: int) -> None:
        """Return no file."""


class CappedUploadHandler(FileUploadHandler):
    """Stream the one file of a form to disk, up to ``UPLOAD_MAX_BYTES``."""

    chunk_size = 1024**2

    @property
    def max_bytes(self) -> int:
        """The maximum size of the file."""
        limit: int = settings.UPLOAD_MAX_BYTES
        return limit

    def check_type(self, content_type: str) -> None:
        """Accept any type: clients guess it, and the probe reads the content."""

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self.file: IncomingFile | None = None
        self._announced = 0

    def handle_raw_input(
        self,
        input_data: Any,  # noqa: ARG002  Django's signature, here and below
        META: dict[str, str],
        content_length: int,
        boundary: Any,  # noqa: ARG002
        encoding: str | None = None,  # noqa: ARG002
    ) -> None:
        """Check ``Content-Length`` before the body is read."""
        if content_length > self.max_bytes + FORM_OVERHEAD_BYTES:
            refuse_size(self.max_bytes)
        self._announced = 0 if is_chunked(META) else content_length

    def new_file(
        self, field_name: str, file_name: str, content_type: str, *rest: Any
    ) -> None:
        """Open a file for the part; raise InvalidRequest for an unexpected one."""
        super().new_file(field_name, file_name, content_type, *rest)
        if field_name != FILE_FIELD or self.file is not None:
            message = f"Send one file, in the field '{FILE_FIELD}'."
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
        """Sync and return the file."""
        if self.file is not None:
            self.file.sync()
        return self.file

    def upload_interrupted(self) -> None:
        """Raise InvalidRequest for a form that ended inside its file."""
        self.discard()
        message = "The upload was cut off: the form ends inside its file."
        raise InvalidRequest(message, code="body_truncated")

    def discard(self) -> None:
        """Delete the temporary file."""
        if self.file is not None:
            self.file.close()


def is_chunked(meta: Mapping[str, Any]) -> bool:
    """Return whether a request's body has no known length; pass ``request.META``."""
    return "HTTP_TRANSFER_ENCODING" in meta


def store_upload(file: IncomingFile, *, tenant_id: UUID) -> str:
    """Move the file into storage and return its name there; a rename on one disk.

    If the caller does not commit a row with this name, it calls ``discard_upload``.
    """
    file.seek(0)
    name = f"audio/{tenant_id}/{new_id()}/{safe_name(file.name or '')}"
    stored = default_storage.save(name, file)
    if isinstance(default_storage, FileSystemStorage):
        _sync_folders(Path(default_storage.path(stored)).parent)
    return stored


def discard_upload(name: str) -> None:
    """Delete a stored object and its folder."""
    default_storage.delete(name)
    if isinstance(default_storage, FileSystemStorage):
        Path(default_storage.path(name)).parent.rmdir()


def is_outcome_unknown(error: BaseException) -> bool:
    """Return whether a transaction that raised this error may have been committed.

    True for a connection lost during COMMIT; the server's own errors have a SQLSTATE
    and mean a rollback.
    """
    is_lost = isinstance(error, OperationalError | InterfaceError)
    return is_lost and getattr(error.__cause__, "sqlstate", None) is None


def safe_name(name: str) -> str:
    """Return a file name that any storage accepts, with its extension."""
    path = PurePosixPath(_UNSAFE.sub("_", name).lstrip("._-") or "audio")
    return path.stem[: _SAFE_NAME_LENGTH - 16] + path.suffix[:16]


def _sync_folders(folder: Path) -> None:
    """Sync the folders, so that the rename survives a power cut."""
    for path in (folder, folder.parent, folder.parent.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_size(size_bytes: int) -> None:
    """Raise UploadTooLarge for a file larger than ``UPLOAD_MAX_BYTES``."""
    if size_bytes > settings.UPLOAD_MAX_BYTES:
        refuse_size(settings.UPLOAD_MAX_BYTES)


def refuse_size(limit: int) -> NoReturn:
    """Raise UploadTooLarge."""
    raise UploadTooLarge(f"The file is larger than {limit} bytes.")


def _refuse_full_disk(error: OSError) -> NoReturn:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        raise ServiceUnavailable("The disk for uploads is full.") from error
    raise error
