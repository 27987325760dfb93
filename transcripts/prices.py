"""Estimate the cost of a call from a price list. Pure."""

from collections.abc import Mapping
from decimal import Decimal

SECONDS_PER_MINUTE = 60
_SIXTH = Decimal("0.000001")


def estimate_cost(
    *,
    model: str,
    audio_seconds: float,
    channels: int,
    per_minute: Mapping[str, str],
) -> Decimal | None:
    """Return US dollars, or None without a price; the longest model prefix wins.

    Every channel is billed (https://deepgram.com/pricing).
    """
    names = [name for name in per_minute if model.startswith(name)]
    if not names:
        return None
    price = Decimal(per_minute[max(names, key=len)])
    minutes = Decimal(str(audio_seconds)) / SECONDS_PER_MINUTE
    return (minutes * max(channels, 1) * price).quantize(_SIXTH)
