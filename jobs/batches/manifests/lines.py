"""Read a manifest as lines, and decompress gzip; only one line is in memory.

An error of one line is part of that line; an error of the whole file raises.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, NoReturn

from jobs.errors import InvalidRequest, UploadTooLarge

MAX_LINES = 100_000
MAX_LINE_BYTES = 64 * 1024
# gzip compresses manifests 10 to 30 times, and a decompression bomb 1,000 times.
MAX_INFLATION_RATIO = 200
_MIN_CHECKED_BYTES = 32 * 1024**2
_CHUNK = 64 * 1024
_GZIP = b"\x1f\x8b"
_MTIME = slice(4, 8)
# Appended logs have a few members; millions of empty ones are an attack.
_MAX_MEMBERS = 1000
_BOM = b"\xef\xbb\xbf"
# Byte order marks of UTF-16: neither UTF-8 nor gzip.
_FOREIGN_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """One line without its end; cut at ``MAX_LINE_BYTES`` if it is too long."""

    number: int
    body: bytes
    is_too_long: bool = False


def digest_of(file: IO[bytes], *, sha256: str) -> str:
    """Return the SHA-256 of a file, in hex, ignoring the time of gzip compression.

    That is MTIME (RFC 1952, section 2.3): a client may compress again for a retry.
    Returns ``sha256``, the digest of all bytes, if the file is not gzip.
    """
    file.seek(0)
    head = bytearray(file.read(_CHUNK))
    if not head.startswith(_GZIP):
        return sha256
    head[_MTIME] = bytes(4)
    digest = hashlib.sha256(head)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def read_lines(file: IO[bytes], *, max_bytes: int) -> Iterator[ManifestLine]:
    """Yield all lines, including empty ones, numbered from 1.

    LF and CRLF end a line; a byte order mark is removed. Raises InvalidRequest for too
    many lines, invalid gzip, an excessive compression ratio or another encoding, and
    UploadTooLarge for more than ``max_bytes`` of decompressed data.
    """
    number, rest, is_cut = 0, b"", False
    for chunk in _decode(file, max_bytes=max_bytes):
        *whole, rest = (rest + chunk).split(b"\n")
        for body in whole:
            number = _count(number)
            yield _line(number, body, is_cut=is_cut)
            is_cut = False
        if len(rest) > MAX_LINE_BYTES:
            # The rest of the line is dropped; its start goes into the error report.
            rest, is_cut = rest[:MAX_LINE_BYTES], True
    if rest:
        yield _line(_count(number), rest, is_cut=is_cut)


def _count(number: int) -> int:
    # Empty lines count, because a few kilobytes of gzip can contain millions of them.
    if number >= MAX_LINES + 1:  # plus the header of CSV
        refuse_too_many_lines()
    return number + 1


def refuse_too_many_lines() -> NoReturn:
    """Raise InvalidRequest for more than ``MAX_LINES``."""
    message = f"A manifest has at most {MAX_LINES:,} lines."
    raise InvalidRequest(message, code="manifest_too_long")


def refuse_work(reason: str) -> NoReturn:
    """Raise InvalidRequest for a manifest that needs too much work."""
    message = f"{reason} Split the manifest into several batches."
    raise InvalidRequest(message, code="manifest_too_complex")


def _line(number: int, body: bytes, *, is_cut: bool) -> ManifestLine:
    is_too_long = is_cut or len(body) > MAX_LINE_BYTES
    return ManifestLine(number, body[:MAX_LINE_BYTES].removesuffix(b"\r"), is_too_long)


def _decode(file: IO[bytes], *, max_bytes: int) -> Iterator[bytes]:
    """Yield the decompressed bytes without a byte order mark."""
    remaining, is_first = max_bytes, True
    for chunk in _inflate(file):
        remaining -= len(chunk)
        if remaining < 0:
            raise UploadTooLarge(
                f"The decompressed manifest is larger than {max_bytes} bytes.",
                code="manifest_too_large",
            )
        if is_first:
            is_first = False
            if chunk.startswith(_FOREIGN_BOMS):
                message = "The manifest is not UTF-8."
                raise InvalidRequest(message, code="manifest_encoding")
            chunk = chunk.removeprefix(_BOM)  # noqa: PLW2901
        yield chunk


def _inflate(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    is_gzip = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    if is_gzip:
        yield from _gunzip(file)
        return
    while chunk := file.read(_CHUNK):
        yield chunk


def _gunzip(file: IO[bytes]) -> Iterator[bytes]:
    """Decompress all members, in chunks of limited size."""
    data, inflated = file.read(_CHUNK), 0
    for _ in range(_MAX_MEMBERS):
        decompressor = zlib.decompressobj(wbits=31)
        while not decompressor.eof:
            data = data or file.read(_CHUNK)
            if not data:  # the file ends inside its last member
                _refuse_gzip()
            try:
                chunk = decompressor.decompress(data, _CHUNK)
            except zlib.error:
                _refuse_gzip()
            data = decompressor.unconsumed_tail
            inflated += len(chunk)
            _check_ratio(file.tell(), inflated)
            if chunk:
                yield chunk
        data = decompressor.unused_data or file.read(_CHUNK)
        if not data:
            return
    _refuse_gzip()


def _check_ratio(compressed_bytes: int, inflated_bytes: int) -> None:
    limit = max(_MIN_CHECKED_BYTES, MAX_INFLATION_RATIO * compressed_bytes)
    if inflated_bytes > limit:
        refuse_work(
            f"The manifest decompresses to over {MAX_INFLATION_RATIO} times its size."
        )


def _refuse_gzip() -> NoReturn:
    message = "The manifest is invalid gzip: cut off, or followed by other data."
    raise InvalidRequest(message, code="manifest_gzip_invalid")
