"""Parse Deepgram's prerecorded response. Pure; unexpected shapes never raise.

Shape: https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded.
The SDK does not validate responses, so fields may be absent or of any type.
"""

from dataclasses import dataclass
from typing import Any

from transcripts import word_times

# Allows for the padding of MP3 files.
DURATION_TOLERANCE_SHARE = 0.05
DURATION_TOLERANCE_SECONDS = 1.0
# Longer than any file that Deepgram accepts.
MAX_SECONDS = 10_000_000
DURATION_MISMATCH = "duration_mismatch"
# Warnings that a second call may resolve; "no_speech" is not one of them.
SUSPECT = frozenset({DURATION_MISMATCH, "channel_missing", "empty_transcript"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The fields of a document that a transcript row stores."""

    text: str
    language: str
    model: str
    confidence: float | None
    duration_seconds: float
    channels: int
    words: int
    # The start of each word: see word_times.
    starts: bytes = b""


def parse_summary(document: dict[str, Any]) -> Summary | None:
    """Return the summary, or None if the document is not a transcript."""
    metadata, results = document.get("metadata"), document.get("results")
    if not isinstance(metadata, dict) or not isinstance(results, dict):
        return None
    channels, seconds = results.get("channels"), _duration(metadata)
    if not isinstance(channels, list) or seconds is None:
        return None
    best = [best_alternative(channel) for channel in channels]
    counts = [len(alternative.get("words") or []) for alternative in best]
    return Summary(
        text="\n".join(filter(None, (a.get("transcript") for a in best))),
        language=_language(channels),
        model=_model(metadata),
        confidence=_confidence(best, counts),
        duration_seconds=seconds,
        channels=len(channels),
        words=sum(counts),
        starts=word_times.pack_starts(best),
    )


def best_alternative(channel: object) -> dict[str, Any]:
    """Return the first alternative of a channel, or an empty dictionary."""
    alternatives = channel.get("alternatives") if isinstance(channel, dict) else None
    first = alternatives[0] if isinstance(alternatives, list) and alternatives else {}
    return first if isinstance(first, dict) else {}


def find_warnings(
    summary: Summary,
    *,
    expected_seconds: float | None,
    expected_channels: int | None,
    is_silent: bool | None = None,
) -> list[dict[str, str]]:
    """Return warnings about the result, each with a stable code and a sentence.

    The expected values come from the probe of an upload; None is unknown.
    """
    warnings = []
    if expected_seconds is not None and _differ(
        summary.duration_seconds, expected_seconds
    ):
        warnings.append(
            {
                "code": DURATION_MISMATCH,
                "detail": f"The audio is {expected_seconds:.1f} s long, the transcript"
                f" covers {summary.duration_seconds:.1f} s.",
            }
        )
    if expected_channels and summary.channels < expected_channels:
        warnings.append(
            {
                "code": "channel_missing",
                "detail": f"The audio has {expected_channels} channels, the transcript"
                f" {summary.channels}.",
            }
        )
    if not summary.words:
        code = "empty_transcript" if is_silent is False else "no_speech"
        warnings.append({"code": code, "detail": "No speech was recognized."})
    return warnings


def _differ(actual: float, expected: float) -> bool:
    tolerance = DURATION_TOLERANCE_SHARE * expected + DURATION_TOLERANCE_SECONDS
    return abs(actual - expected) > tolerance


def _duration(metadata: dict[str, Any]) -> float | None:
    seconds = metadata.get("duration")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    # Also rejects NaN.
    return float(seconds) if 0 <= seconds <= MAX_SECONDS else None


def _language(channels: list[Any]) -> str:
    for channel in channels:
        if isinstance(channel, dict) and channel.get("detected_language"):
            return str(channel["detected_language"])
    return ""


def _model(metadata: dict[str, Any]) -> str:
    models = metadata.get("model_info")
    first = next(iter(models.values()), None) if isinstance(models, dict) else None
    return str(first.get("name", "")) if isinstance(first, dict) else ""


def _confidence(best: list[dict[str, Any]], counts: list[int]) -> float | None:
    """Return the mean over channels, weighted by their words."""
    if not sum(counts):
        return None
    weighted = zip(best, counts, strict=True)
    total = sum(float(a.get("confidence") or 0) * count for a, count in weighted)
    return total / sum(counts)
