"""The shape of a transcript from outside.

Plain dictionaries, not field by field: an hour of speech is ten thousand words. The
serializer classes are what the OpenAPI document says of them.
"""

from typing import Any

from rest_framework import serializers

from jobs.serializers import StrictSerializer, WholeNumberField
from transcripts.documents import best_alternative
from transcripts.models import Transcript

FORMATS = ("json", "text", "raw")
_WORD = ("word", "start", "end", "confidence", "punctuated_word", "speaker")
_UTTERANCE = ("id", "channel", "speaker", "start", "end", "confidence", "transcript")


class WordOutput(serializers.Serializer[Any]):
    """A word and when it was said."""

    word = serializers.CharField()
    start = serializers.FloatField()
    end = serializers.FloatField()
    confidence = serializers.FloatField()
    punctuated_word = serializers.CharField(required=False)
    speaker = serializers.IntegerField(required=False)


class ChannelOutput(serializers.Serializer[Any]):
    """What was said in one channel of the audio."""

    transcript = serializers.CharField()
    confidence = serializers.FloatField(allow_null=True)
    words = WordOutput(many=True)


class UtteranceOutput(serializers.Serializer[Any]):
    """A stretch of speech of one speaker; only where the job asked for utterances."""

    id = serializers.CharField(required=False)
    channel = serializers.IntegerField(required=False)
    speaker = serializers.IntegerField(required=False)
    start = serializers.FloatField()
    end = serializers.FloatField()
    confidence = serializers.FloatField()
    transcript = serializers.CharField()


class WarningOutput(serializers.Serializer[Any]):
    """Something about the result that may not be as expected."""

    code = serializers.CharField()
    detail = serializers.CharField()


class TranscriptOutput(serializers.Serializer[Any]):
    """A transcript as customers see it."""

    job_id = serializers.UUIDField()
    object = serializers.ChoiceField(choices=["transcript"])
    text = serializers.CharField()
    language = serializers.CharField()
    confidence = serializers.FloatField(allow_null=True)
    duration_seconds = serializers.FloatField()
    model = serializers.CharField()
    request_id = serializers.CharField()
    channels = ChannelOutput(many=True)
    utterances = UtteranceOutput(many=True)
    warnings = WarningOutput(many=True)


class LinkInput(StrictSerializer):
    """What a link is to open, and for how long."""

    expires_in_seconds = WholeNumberField(
        required=False, default=3600, min_value=60, max_value=7 * 24 * 3600
    )
    format = serializers.ChoiceField(choices=FORMATS, required=False, default="json")


class LinkOutput(serializers.Serializer[Any]):
    """A link that needs no key; whoever has it can read the transcript."""

    url = serializers.URLField()
    expires_at = serializers.DateTimeField()


def present_transcript(
    transcript: Transcript, document: dict[str, Any]
) -> dict[str, Any]:
    """Return the transcript as JSON: the row's facts, the words from the document."""
    results = document.get("results")
    found = results if isinstance(results, dict) else {}
    return {
        "job_id": str(transcript.job_id),
        "object": "transcript",
        "text": transcript.text,
        "language": transcript.language,
        "confidence": transcript.confidence,
        "duration_seconds": transcript.duration_seconds,
        "model": transcript.model,
        "request_id": transcript.request_id,
        "channels": [_channel(channel) for channel in found.get("channels") or []],
        "utterances": _chosen(found.get("utterances"), _UTTERANCE),
        "warnings": transcript.job.warnings,
    }


def _channel(channel: object) -> dict[str, Any]:
    best = best_alternative(channel)
    return {
        "transcript": best.get("transcript") or "",
        "confidence": best.get("confidence"),
        "words": _chosen(best.get("words"), _WORD),
    }


def _chosen(entries: object, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {name: entry[name] for name in names if name in entry}
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    ]
