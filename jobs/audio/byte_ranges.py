"""Parse ``Range`` headers (RFC 9110, section 14). Pure.

Supports one range of bytes; any other header is ignored, as the RFC permits.
"""

import re
from dataclasses import dataclass
from typing import Self

from jobs.errors import RangeNotSatisfiable

# 18 digits exceed any file. Possessive: see ``jobs.rest.preferences``.
_RANGE = re.compile(r"bytes\s*+=\s*+(\d{0,18}+)\s*+-\s*+(\d{0,18}+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """A range of an object's bytes; ``size`` is the size of the object."""

    start: int
    length: int
    size: int

    @classmethod
    def parse(cls, header: str, *, size: int) -> Self:
        """Return the requested range; raise RangeNotSatisfiable beyond the end."""
        match = _RANGE.fullmatch(header.strip())
        first, last = match.groups() if match else ("", "")
        if not (first or last) or (first and last and int(last) < int(first)):
            return cls(start=0, length=size, size=size)
        # Without a first byte, the number is a count from the end.
        start = int(first) if first else max(0, size - int(last))
        end = min(size - 1, int(last)) if first and last else size - 1
        if start > end:
            raise RangeNotSatisfiable(size=size)
        return cls(start=start, length=end - start + 1, size=size)

    @property
    def is_whole(self) -> bool:
        """Whether the range is the whole object."""
        return self.length == self.size

    @property
    def content_range(self) -> str:
        """The ``Content-Range`` header."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"
