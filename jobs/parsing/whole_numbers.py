"""Parse whole numbers from untrusted text, such as headers. Pure.

``int()`` raises ValueError above 4,300 digits and accepts digits of any script, as does
``str.isdecimal``.
"""

# Below 2^63, the limit of file positions and columns.
MAX_DIGITS = 18


def parse_whole_number(text: str, *, max_digits: int = MAX_DIGITS) -> int | None:
    """Return the number; None for anything but up to ``max_digits`` ASCII digits."""
    is_number = len(text) <= max_digits and text.isascii() and text.isdecimal()
    return int(text) if is_number else None
