"""How long a call takes. Pure: who waits is another matter."""

from workers.emulator import chance, config


def choose_latency(
    tuning: config.Tuning, *, audio_seconds: float, seed: int, call: str
) -> float:
    """Return the seconds from the last byte in to the first byte out.

    The drawn part depends on the seed and the call alone, so a repeated run waits
    exactly as long in every call, in whatever order they come.
    """
    fixed = tuning.latency_base + tuning.latency_per_second_of_audio * audio_seconds
    spread = tuning.latency_max - tuning.latency_min
    if spread <= 0:
        return fixed + tuning.latency_min
    return fixed + tuning.latency_min + spread * chance.fraction(seed, call)
