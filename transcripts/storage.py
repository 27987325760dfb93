"""Transcript documents in object storage."""

import gzip
import json
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage

from jobs.models import Attempt
from transcripts.models import Transcript


def name_of_result(attempt: Attempt, *, number: int | None = None) -> str:
    """Return the storage name of the document of an attempt's call.

    ``number`` tells the versions of a live session's document apart.
    """
    version = "" if number is None else f".{number}"
    return f"raw/{attempt.tenant_id}/{attempt.job_id}/{attempt.pk}{version}.json.gz"


def store_result(attempt: Attempt, raw: bytes, *, number: int) -> str:
    """Store a live session's document, gzipped; return its name. Raises OSError."""
    name = name_of_result(attempt, number=number)
    return store_object(name, gzip.compress(raw, compresslevel=1))


def store_object(name: str, content: bytes) -> str:
    """Store an object completely or not at all; return its name. Raises OSError.

    A folder gets it by a rename, a bucket by one PUT.
    """
    if not isinstance(default_storage, FileSystemStorage):
        with _outages_as_os_errors():
            return default_storage.save(name, ContentFile(content))
    path = Path(default_storage.path(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.write_bytes(content)
        partial.chmod(settings.FILE_UPLOAD_PERMISSIONS)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return name


def find_result(attempt: Attempt) -> bytes | None:
    """Return the stored document of an attempt's call, if there is a complete one.

    Raises OSError if the storage is unavailable.
    """
    try:
        with (
            _outages_as_os_errors(),
            default_storage.open(name_of_result(attempt)) as file,
        ):
            packed = file.read()
        return gzip.decompress(packed)
    except (FileNotFoundError, EOFError, gzip.BadGzipFile, zlib.error):
        return None


@contextmanager
def _outages_as_os_errors() -> Iterator[None]:
    """Raise OSError for the errors of a bucket's client, which have no common base."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError("object storage unavailable") from error


def read_raw(transcript: Transcript) -> bytes:
    """Return the document exactly as the upstream sent it."""
    with default_storage.open(transcript.raw) as packed:
        return gzip.decompress(packed.read())


def read_document(transcript: Transcript) -> dict[str, Any]:
    """Return the parsed upstream document."""
    document: dict[str, Any] = json.loads(read_raw(transcript))
    return document
