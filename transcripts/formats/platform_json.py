"""The platform's JSON format: fields of the row, words of the document."""

import json
from typing import Any

from transcripts.documents import best_alternative
from transcripts.formats.base import Format, FormatSource, encode
from transcripts.models import Transcript

_WORD = ("word", "start", "end", "confidence", "punctuated_word", "speaker")
_UTTERANCE = ("id", "channel", "speaker", "start", "end", "confidence", "transcript")


def present_transcript(
    transcript: Transcript, document: dict[str, Any]
) -> dict[str, Any]:
    """Return the JSON-serializable body that ``TranscriptOutput`` describes."""
    results = document.get("results")
    found = results if isinstance(results, dict) else {}
    return {
        "job_id": str(transcript.job_id),
        "object": "transcript",
        "text": transcript.text,
        "language": transcript.find_language(transcript.job.options),
        "confidence": transcript.confidence,
        "duration_seconds": transcript.duration_seconds,
        "model": transcript.model or None,
        "request_id": transcript.request_id or None,
        "channels": [
            _present_channel(channel) for channel in found.get("channels") or []
        ],
        "utterances": _select(found.get("utterances"), _UTTERANCE),
        "warnings": transcript.job.warnings,
    }


def _present_channel(channel: object) -> dict[str, Any]:
    best = best_alternative(channel)
    return {
        "transcript": best.get("transcript") or "",
        "confidence": best.get("confidence"),
        "words": _select(best.get("words"), _WORD),
    }


def _select(entries: object, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {name: entry[name] for name in names if name in entry}
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    ]


def _build(source: FormatSource) -> bytes:
    body = present_transcript(source.transcript, source.document)
    return encode(json.dumps(body, ensure_ascii=False, separators=(",", ":")))


FORMAT = Format(
    name="json",
    media_type="application/json",
    extension="json",
    build=_build,
    charset=None,
)
