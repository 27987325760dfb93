"""Serializer bases and fields that all endpoints share.

Input is strict: unknown fields and loosely typed values raise InvalidRequest.
"""

from functools import cache, cached_property
from typing import Any, NoReturn

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.utils.serializer_helpers import BindingDict

from jobs.errors import InvalidRequest
from jobs.strict_json import is_storable, pointer_to

METADATA_KEYS = 16
METADATA_LENGTH = 512
JSON_OBJECT = {"type": "object", "additionalProperties": True}


class SharedFields(serializers.Serializer[Any]):
    """A serializer whose fields are made once a class: DRF copies all for each one.

    For fields that ask nothing of their serializer, context and ``partial`` above all.
    """

    @cached_property
    def fields(self) -> Any:
        """Return the fields of the class, bound to one that has no data."""
        return _make_fields(type(self))


@cache
def _make_fields(kind: type[SharedFields]) -> BindingDict:
    owner = kind()
    fields = BindingDict(owner)
    for name, each in owner.get_fields().items():
        fields[name] = each
    return fields


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse unknown fields, then read the known ones."""
        for name in data:
            if name not in self.fields:
                raise InvalidRequest(
                    "There is no such field.",
                    code="field_unknown",
                    pointer=pointer_to(name),
                )
        return super().to_internal_value(data)


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": METADATA_KEYS,
        "additionalProperties": {
            "anyOf": [
                {"type": "string", "maxLength": METADATA_LENGTH},
                {"type": "number"},
                {"type": "boolean"},
            ]
        },
    }
)
class MetadataField(serializers.Field[Any, Any, Any, Any]):
    """The customer's own words for a job: flat, small, and never interpreted."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return them unchanged."""
        metadata = check_object(data, "metadata")
        if len(metadata) > METADATA_KEYS:
            _refuse_metadata(f"Metadata has at most {METADATA_KEYS} keys.")
        for key, value in metadata.items():
            if not 0 < len(key) <= METADATA_LENGTH or not is_storable(key):
                _refuse_metadata(f"A key has 1 to {METADATA_LENGTH} characters.")
            if not isinstance(value, str | int | float):
                _refuse_metadata("A value is text, a number or a boolean.", key)
            if isinstance(value, str) and len(value) > METADATA_LENGTH:
                _refuse_metadata(f"Text has at most {METADATA_LENGTH} characters.", key)
            if not is_storable(str(value)):
                _refuse_metadata("Text must not hold NUL or lone surrogates.", key)
        return metadata


class BoundedListField(serializers.ListField):
    """A list whose length is checked before its items, of which there may be many."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse a list that is too long without a look at its items."""
        if isinstance(data, list):
            self.run_validators(data)
        return super().to_internal_value(data)


class TrueFalseField(serializers.BooleanField):
    """A JSON boolean; neither 1 nor "yes" is one."""

    def to_internal_value(self, data: Any) -> bool:
        """Refuse everything but true and false."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class WholeNumberField(serializers.IntegerField):
    """A JSON integer; text that looks like one is not."""

    def to_internal_value(self, data: Any) -> int:
        """Refuse everything but an integer."""
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


def check_object(data: Any, name: str) -> dict[str, Any]:
    """Return a JSON object; raises InvalidRequest for any other value."""
    if not isinstance(data, dict):
        refuse_field("This must be a JSON object.", name, "field_invalid")
    return data


def _refuse_metadata(message: str, *key: str) -> NoReturn:
    pointer = pointer_to("metadata", *key)
    raise InvalidRequest(message, code="metadata_invalid", pointer=pointer)


def refuse_field(message: str, name: str, code: str) -> NoReturn:
    """Raise InvalidRequest for a field of the body."""
    raise InvalidRequest(message, code=code, pointer=pointer_to(name))
