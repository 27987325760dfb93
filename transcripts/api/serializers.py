"""The shape of a transcript from outside.

Plain dictionaries, not field by field: an hour of speech is ten thousand words. The
serializer classes are what the OpenAPI document says of them.
"""

from typing import Any

from rest_framework import serializers

from jobs.rest.serializers import StrictSerializer, WholeNumberField
from transcripts.formats import FORMATS


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
    """A stretch of speech of one speaker.

    Only where the job asked for utterances, and always of a live session.
    """

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
    format = serializers.ChoiceField(
        choices=list(FORMATS), required=False, default="json"
    )


class LinkOutput(serializers.Serializer[Any]):
    """A link that needs no key; whoever has it can read the transcript."""

    url = serializers.URLField()
    expires_at = serializers.DateTimeField()
