"""Which bytes a Range header asks for."""

import pytest

from jobs.audio.byte_ranges import ByteRange
from jobs.errors import RangeNotSatisfiable


@pytest.mark.parametrize(
    ("header", "first", "length"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-4", 2, 3),
        ("bytes=7-", 7, 3),
        ("bytes=7-99", 7, 3),
        ("bytes=-4", 6, 4),
        ("bytes=0-9", 0, 10),
        (" bytes = 2 - 4 ", 2, 3),
    ],
)
def test_a_range_is_read(header, first, length):
    part = ByteRange.parse(header, size=10)

    assert (part.start, part.length, part.is_whole) == (first, length, length == 10)
    assert part.content_range == f"bytes {first}-{first + length - 1}/10"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes=-",
        "bytes=4-2",
        "bytes=0-1,4-5",
        "lines=0-1",
        "bytes=a-b",
        "bytes=٣-٤",
        "bytes=-99",
        f"bytes={'9' * 19}-",
        f"bytes={'9' * 5000}-",
        f"bytes={' ' * 16_000}x",
    ],
)
def test_what_is_no_range_of_ours_is_the_whole(header):
    assert ByteRange.parse(header, size=10) == ByteRange(start=0, length=10, size=10)


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10)]
)
def test_a_range_behind_the_end_is_refused(header, size):
    with pytest.raises(RangeNotSatisfiable) as refused:
        ByteRange.parse(header, size=size)

    assert refused.value.size == size
