"""Serializers of the search endpoint."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs.models import Mode
from jobs.rest.serializers import NullableTextField, ObjectTypeField, PageOutput
from transcripts.search.hits import ShownHit


class PartOutput(serializers.Serializer[Any]):
    """A part of a snippet: a match, or the text around it."""

    text = serializers.CharField()
    is_match = serializers.BooleanField()
    start_seconds = serializers.FloatField(allow_null=True)


class SnippetOutput(serializers.Serializer[Any]):
    """An excerpt around matches, and the time of the first match."""

    start_seconds = serializers.FloatField(allow_null=True)
    parts = PartOutput(many=True)


class HitOutput(serializers.Serializer[ShownHit]):
    """A matching transcript; ``rank`` is null without search words."""

    job_id = serializers.UUIDField(source="transcript.pk")
    object = ObjectTypeField("transcript_hit")
    rank = serializers.FloatField(allow_null=True)
    snippets = serializers.SerializerMethodField()
    language = serializers.SerializerMethodField()
    confidence = serializers.FloatField(source="transcript.confidence", allow_null=True)
    duration_seconds = serializers.FloatField(source="transcript.duration_seconds")
    words = serializers.IntegerField(source="transcript.words")
    mode = serializers.ChoiceField(choices=Mode.choices, source="transcript.job.mode")
    batch_id = serializers.UUIDField(source="transcript.job.batch_id", allow_null=True)
    custom_id = serializers.SerializerMethodField()
    filename = NullableTextField(source="transcript.job.filename")
    metadata = serializers.JSONField(source="transcript.job.metadata")
    created_at = serializers.DateTimeField(source="transcript.created_at")
    transcript_url = serializers.SerializerMethodField()

    @extend_schema_field(SnippetOutput(many=True))
    def get_snippets(self, hit: ShownHit) -> list[dict[str, Any]]:
        """Return the snippets; serializer fields are too slow for hundreds of parts."""
        return [
            {
                "start_seconds": each.start_seconds,
                "parts": [
                    {
                        "text": part.text,
                        "is_match": part.is_match,
                        "start_seconds": part.start_seconds,
                    }
                    for part in each.parts
                ],
            }
            for each in hit.snippets
        ]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_language(self, hit: ShownHit) -> str | None:
        """Return the detected language, else the requested one; null if unknown."""
        return hit.transcript.find_language(hit.transcript.job.options)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_custom_id(self, hit: ShownHit) -> str | None:
        """Return the customer's own id of the job."""
        return hit.transcript.job.custom_id or None

    @extend_schema_field({"type": "string", "format": "uri"})
    def get_transcript_url(self, hit: ShownHit) -> str:
        """Return the URL of the transcript."""
        return f"{settings.BASE_URL}/v1/transcripts/{hit.transcript.pk}"


class HitPage(PageOutput):
    """One page of hits, best first; ``is_capped`` if older ones were not searched."""

    data = HitOutput(many=True)  # type: ignore[assignment]  # a field of that name
    is_capped = serializers.BooleanField()
