"""Parse the form of ``/v1/audio/transcriptions`` and convert it to a job's options.

https://developers.openai.com/api/reference/resources/audio/subresources/transcriptions
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.http import QueryDict
from rest_framework import serializers

from jobs import options
from jobs.errors import InvalidRequest, NotFound
from jobs.parsing.strict_json import loads_strictly
from jobs.rest.parsers import StrictMultiPartParser
from jobs.rest.serializers import StrictSerializer, refuse_field
from jobs.services import JobDraft
from workers.api.openai.openai_errors import TABLES

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
STREAMED_FORMATS = ("json", "text", "diarized_json")
PARAMETER_IGNORED = "parameter_ignored"
_LISTS = frozenset(
    {
        "include",
        "keywords",
        "known_speaker_names",
        "known_speaker_references",
        "languages",
        "timestamp_granularities",
    }
)
_CHUNKING = "chunking_strategy"


class TranscriptionForm(StrictMultiPartParser):
    """A form with lists (``name[]``) and objects (``name[key]``)."""

    json_fields = frozenset()

    def _parse_fields(self, fields: QueryDict) -> dict[str, Any]:
        single, parsed = QueryDict(mutable=True), dict[str, Any]()
        for name, values in fields.lists():
            base, _, key = name.removesuffix("]").partition("[")
            if base in _LISTS:
                parsed.setdefault(base, []).extend(values)
            elif base == _CHUNKING and key:
                parsed.setdefault(base, {})[key] = values[-1]
            else:
                single.setlist(name, list(values))
        return {**super()._parse_fields(single), **parsed}


class ChunkingStrategyField(serializers.Field[Any, Any, Any, Any]):
    """``auto``, or an object with ``type: server_vad``, also as JSON text."""

    default_error_messages = {
        "invalid": "Must be 'auto' or an object of type 'server_vad'."
    }

    def to_internal_value(self, data: Any) -> str:
        """Return ``auto`` or ``server_vad``."""
        if isinstance(data, str) and data.startswith("{"):
            data = loads_strictly(data.encode(), pointer=f"/{_CHUNKING}")
        name = data.get("type") if isinstance(data, Mapping) else data
        if name not in {"auto", "server_vad"}:
            self.fail("invalid")
        return str(name)


class TranscriptionInput(StrictSerializer):
    """The parameters of OpenAI's transcription request."""

    omits_null = True

    file = serializers.FileField(allow_empty_file=True)
    model = serializers.CharField(max_length=200)
    language = serializers.CharField(required=False, allow_blank=True)
    languages = serializers.ListField(
        child=serializers.CharField(), required=False, max_length=options.MAX_ITEMS
    )
    keywords = serializers.ListField(
        child=serializers.CharField(), required=False, max_length=options.MAX_ITEMS
    )
    prompt = serializers.CharField(required=False, allow_blank=True)
    response_format = serializers.ChoiceField(choices=FORMATS, default="json")
    timestamp_granularities = serializers.ListField(
        child=serializers.ChoiceField(choices=["word", "segment"]), required=False
    )
    temperature = serializers.FloatField(required=False, min_value=0, max_value=1)
    stream = serializers.BooleanField(default=False)
    include = serializers.ListField(
        child=serializers.ChoiceField(choices=["logprobs"]), required=False
    )
    chunking_strategy = ChunkingStrategyField(required=False)
    known_speaker_names = serializers.ListField(required=False)
    known_speaker_references = serializers.ListField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Reject combinations that OpenAI rejects, and what Deepgram cannot do."""
        for name in ("known_speaker_names", "known_speaker_references"):
            if name in attrs:
                message = "Known speakers are not supported: speakers are named A, B …"
                refuse_field(message, name, code="field_unsupported")
        name = attrs["response_format"]
        formats = TABLES["formats"].get(attrs["model"], FORMATS)
        if name not in formats:
            message = f"This model supports: {', '.join(formats)}."
            refuse_field(message, "response_format", "field_invalid")
        if attrs["stream"] and name not in STREAMED_FORMATS:
            message = f"A stream supports: {', '.join(STREAMED_FORMATS)}."
            refuse_field(message, "response_format", "field_invalid")
        if "timestamp_granularities" in attrs and name != "verbose_json":
            message = "This needs response_format=verbose_json."
            refuse_field(message, "timestamp_granularities", "field_invalid")
        if "include" in attrs and name != "json":
            refuse_field("This needs response_format=json.", "include", "field_invalid")
        if attrs.get("language") and attrs.get("languages"):
            message = "Send either language or languages."
            refuse_field(message, "languages", "field_invalid")
        return attrs

    def find_ignored(self) -> list[str]:
        """Return the parameters that have a value and no effect.

        A prompt is prose, which key terms must not be: they cost extra and change
        other words.
        """
        fields = self.validated_data
        without_effect = {
            "prompt": fields.get("prompt"),
            "temperature": fields.get("temperature"),
            _CHUNKING: fields.get(_CHUNKING) == "server_vad",
        }
        return [name for name, value in without_effect.items() if value]

    def build_draft(self, defaults: Mapping[str, Any]) -> JobDraft:
        """Return the draft; ``defaults`` are the options of account and platform.

        Raises NotFound for an unknown model, and InvalidRequest for an option.
        """
        fields = self.validated_data
        chosen = {
            "model": find_model(fields["model"]),
            **_choose_language(fields, defaults),
        }
        if fields.get("keywords"):
            chosen["keyterm"] = fields["keywords"]
        if fields["response_format"] == "diarized_json":
            chosen["diarize"] = True
        warnings = [
            {
                "code": PARAMETER_IGNORED,
                "detail": f"The parameter '{name}' has no effect.",
            }
            for name in self.find_ignored()
        ]
        return JobDraft(options=options.check_options(chosen), warnings=warnings)


def find_model(name: str) -> str:
    """Return Deepgram's model for OpenAI's; Deepgram's own names stand for themselves.

    Raises NotFound for any other name.
    """
    if mapped := settings.OPENAI_MODELS.get(name):
        return str(mapped)
    if name not in TABLES["formats"]:
        with suppress(InvalidRequest):
            return str(options.check_options({"model": name})["model"])
    message = f"The model '{name}' does not exist. GET /v1/models lists all."
    raise NotFound(message, code="model_unknown")


def _choose_language(
    fields: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options: detection, unless the request or account has a language."""
    language = fields.get("language")
    languages = fields.get("languages") or ([language] if language else [])
    if len(languages) > 1:
        return {"detect_language": languages}
    if languages:
        replaced = {"detect_language": False} if "detect_language" in defaults else {}
        return {"language": languages[0], **replaced}
    return {} if "language" in defaults else {"detect_language": True}
