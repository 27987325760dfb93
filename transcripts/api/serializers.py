"""Serializers of transcripts and their links.

Responses are built as dictionaries: an hour of speech has ten thousand words. The
serializers only describe them in the OpenAPI document.
"""

from typing import Any

from rest_framework import serializers

from jobs.rest.serializers import StrictSerializer, WholeNumberField
from transcripts.formats import FORMATS


class WordOutput(serializers.Serializer[Any]):
    """A word and its time in seconds."""

    word = serializers.CharField()
    start = serializers.FloatField()
    end = serializers.FloatField()
    confidence = serializers.FloatField()
    punctuated_word = serializers.CharField(required=False)
    speaker = serializers.IntegerField(required=False)


class ChannelOutput(serializers.Serializer[Any]):
    """The transcript of one audio channel."""

    transcript = serializers.CharField()
    confidence = serializers.FloatField(allow_null=True)
    words = WordOutput(many=True)


class UtteranceOutput(serializers.Serializer[Any]):
    """A segment of speech of one speaker.

    Present if the job requested utterances, and always for live sessions.
    """

    id = serializers.CharField(required=False)
    channel = serializers.IntegerField(required=False)
    speaker = serializers.IntegerField(required=False)
    start = serializers.FloatField()
    end = serializers.FloatField()
    confidence = serializers.FloatField()
    transcript = serializers.CharField()


class WarningOutput(serializers.Serializer[Any]):
    """A possible problem with the result."""

    code = serializers.CharField()
    detail = serializers.CharField()


class TranscriptOutput(serializers.Serializer[Any]):
    """A transcript as customers see it."""

    job_id = serializers.UUIDField()
    object = serializers.ChoiceField(choices=["transcript"])
    text = serializers.CharField()
    language = serializers.CharField(
        allow_null=True, help_text="The detected language, else the requested one."
    )
    confidence = serializers.FloatField(allow_null=True)
    duration_seconds = serializers.FloatField()
    model = serializers.CharField(allow_null=True)
    request_id = serializers.CharField(allow_null=True)
    channels = ChannelOutput(many=True)
    utterances = UtteranceOutput(many=True)
    warnings = WarningOutput(many=True)


class LinkInput(StrictSerializer):
    """The format and lifetime of a link."""

    expires_in_seconds = WholeNumberField(
        required=False, default=3600, min_value=60, max_value=7 * 24 * 3600
    )
    format = serializers.ChoiceField(
        choices=list(FORMATS), required=False, default="json"
    )


class LinkOutput(serializers.Serializer[Any]):
    """A link that needs no API key: anyone who has it can read the transcript."""

    url = serializers.URLField()
    expires_at = serializers.DateTimeField()
