"""Read a manifest's bytes as lines: inflated where it is gzip, no more held than one.

What is wrong with one line is that line's fault; what is wrong with the whole raises.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, NoReturn

from jobs.errors import InvalidRequest, UploadTooLarge

MAX_LINES = 100_000
MAX_LINE_BYTES = 64 * 1024
# Manifests pack ten or thirty times; a file that is there to keep us busy a thousand.
MAX_PACKED_TIMES = 200
_ANY_RATIO_BYTES = 32 * 1024**2
_CHUNK = 64 * 1024
_GZIP = b"\x1f\x8b"
_MTIME = slice(4, 8)
# Appended logs have a few; millions of empty ones are there to keep us busy.
_MAX_MEMBERS = 1000
_BOM = b"\xef\xbb\xbf"
# Of other encodings: what begins so is not UTF-8 and no gzip.
_FOREIGN_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """One line without its end; a longer one than we take is cut, and says so."""

    number: int
    body: bytes
    is_too_long: bool = False


def digest_of(file: IO[bytes], *, sha256: str) -> str:
    """Return the SHA-256 of its bytes, in hex, but for when gzip packed them.

    That is MTIME in RFC 1952, section 2.3: who sends a request again may pack anew.
    Of all bytes it is known, and not taken twice where nothing was packed.
    """
    file.seek(0)
    begin = bytearray(file.read(_CHUNK))
    if not begin.startswith(_GZIP):
        return sha256
    begin[_MTIME] = bytes(4)
    digest = hashlib.sha256(begin)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def read_lines(file: IO[bytes], *, max_bytes: int) -> Iterator[ManifestLine]:
    """Yield the lines, counted from 1, the empty ones too.

    LF and CRLF end a line; a byte order mark is no part of the first one. Raises
    InvalidRequest for too many of them, for broken gzip, gzip that hides far more than
    its size, or another encoding, and UploadTooLarge for more than ``max_bytes``,
    inflated.
    """
    number, rest, is_cut = 0, b"", False
    for chunk in _decoded(file, max_bytes=max_bytes):
        *whole, rest = (rest + chunk).split(b"\n")
        for body in whole:
            number = _count(number)
            yield _line(number, body, is_cut=is_cut)
            is_cut = False
        if len(rest) > MAX_LINE_BYTES:
            # What follows of it is not kept; its beginning is, to say which it was.
            rest, is_cut = rest[:MAX_LINE_BYTES], True
    if rest:
        yield _line(_count(number), rest, is_cut=is_cut)


def _count(number: int) -> int:
    # Empty lines count: without that, a few kilobytes of gzip hold millions of them.
    if number >= MAX_LINES + 1:  # one more for the header of CSV
        refuse_length()
    return number + 1


def refuse_length() -> NoReturn:
    """Say that the manifest has more lines than we take."""
    message = f"A manifest has at most {MAX_LINES:,} lines."
    raise InvalidRequest(message, code="manifest_too_long")


def refuse_work(reason: str) -> NoReturn:
    """Say that reading the manifest takes more work than one batch may."""
    message = f"{reason} Split the manifest into several batches."
    raise InvalidRequest(message, code="manifest_too_complex")


def _line(number: int, body: bytes, *, is_cut: bool) -> ManifestLine:
    is_too_long = is_cut or len(body) > MAX_LINE_BYTES
    return ManifestLine(number, body[:MAX_LINE_BYTES].removesuffix(b"\r"), is_too_long)


def _decoded(file: IO[bytes], *, max_bytes: int) -> Iterator[bytes]:
    """Yield the text's bytes, without a mark at their beginning."""
    left, is_first = max_bytes, True
    for chunk in _inflated(file):
        left -= len(chunk)
        if left < 0:
            raise UploadTooLarge(
                f"The manifest is larger than {max_bytes} bytes, inflated.",
                code="manifest_too_large",
            )
        if is_first:
            is_first = False
            if chunk.startswith(_FOREIGN_BOMS):
                message = "The manifest is not UTF-8."
                raise InvalidRequest(message, code="manifest_encoding")
            chunk = chunk.removeprefix(_BOM)  # noqa: PLW2901
        yield chunk


def _inflated(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    is_gzip = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    if is_gzip:
        yield from _gunzip(file)
        return
    while chunk := file.read(_CHUNK):
        yield chunk


def _gunzip(file: IO[bytes]) -> Iterator[bytes]:
    """Inflate members one after another, a chunk at a time however well they pack."""
    packed, inflated = file.read(_CHUNK), 0
    for _ in range(_MAX_MEMBERS):
        inflate = zlib.decompressobj(wbits=31)
        while not inflate.eof:
            packed = packed or file.read(_CHUNK)
            if not packed:  # it ends before its last member does
                _refuse_gzip()
            try:
                chunk = inflate.decompress(packed, _CHUNK)
            except zlib.error:
                _refuse_gzip()
            packed = inflate.unconsumed_tail
            inflated += len(chunk)
            _check_ratio(file.tell(), inflated)
            if chunk:
                yield chunk
        packed = inflate.unused_data or file.read(_CHUNK)
        if not packed:
            return
    _refuse_gzip()


def _check_ratio(packed_bytes: int, inflated_bytes: int) -> None:
    if inflated_bytes > max(_ANY_RATIO_BYTES, MAX_PACKED_TIMES * packed_bytes):
        refuse_work(f"The manifest unpacks to over {MAX_PACKED_TIMES} times its size.")


def _refuse_gzip() -> NoReturn:
    message = "The manifest is broken gzip: it was cut, or is not gzip all through."
    raise InvalidRequest(message, code="manifest_gzip_invalid")
