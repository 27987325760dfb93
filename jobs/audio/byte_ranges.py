"""Which part of an object a ``Range`` header asks for (RFC 9110, 14). Pure.

One range of bytes, or the whole: what we do not read is passed over, as it may be.
"""

import re
from dataclasses import dataclass
from typing import Self

from jobs.errors import RangeNotSatisfiable

# Longer numbers are longer than any file. Possessive: see ``jobs.rest.preferences``.
_RANGE = re.compile(r"bytes\s*+=\s*+(\d{0,18}+)\s*+-\s*+(\d{0,18}+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Some bytes of an object, or all of them."""

    start: int
    length: int
    whole: int

    @classmethod
    def parse(cls, header: str, *, size: int) -> Self:
        """Return what is asked for; RangeNotSatisfiable where none of it is there."""
        found = _RANGE.fullmatch(header.strip())
        first, last = found.groups() if found else ("", "")
        if not (first or last) or (first and last and int(last) < int(first)):
            return cls(start=0, length=size, whole=size)
        # Without a first byte the number counts from the end.
        start = int(first) if first else max(0, size - int(last))
        end = min(size - 1, int(last)) if first and last else size - 1
        if start > end:
            raise RangeNotSatisfiable(size=size)
        return cls(start=start, length=end - start + 1, whole=size)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.length == self.whole

    @property
    def content_range(self) -> str:
        """Return the header that names it."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.whole}"
