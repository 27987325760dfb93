"""Read whole numbers from text that others wrote, such as headers. Pure.

``int()`` raises ValueError for more than 4,300 digits and takes digits of any script,
and ``str.isdecimal`` promises neither.
"""

# Below 2^63: what a file position and a column hold.
MAX_DIGITS = 18


def parse_whole_number(text: str, *, max_digits: int = MAX_DIGITS) -> int | None:
    """Return the number; None for anything but a few ASCII digits."""
    is_number = len(text) <= max_digits and text.isascii() and text.isdecimal()
    return int(text) if is_number else None
