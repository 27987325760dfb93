"""Serializer bases and fields that all endpoints share.

Input is strict: unknown fields and loosely typed values raise InvalidRequest.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from operator import attrgetter
from typing import Any, NoReturn

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.utils.serializer_helpers import BindingDict

from jobs.egress.addresses import MAX_URL_LENGTH
from jobs.errors import InvalidRequest
from jobs.parsing import suggestions
from jobs.parsing.strict_json import is_storable, pointer_to

METADATA_KEYS = 16
METADATA_LENGTH = 512
JSON_OBJECT = {"type": "object", "additionalProperties": True}


class SharedFields(serializers.Serializer[Any]):
    """A serializer that builds its fields once per class; DRF copies them per instance.

    Only for fields that do not use their serializer's context or ``partial``.
    """

    @cached_property
    def fields(self) -> Any:
        """Return the fields of the class, bound to an instance without data."""
        return _build_fields(type(self))

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return what DRF's method returns, in a third of its time."""
        return {name: read(instance) for name, read in _build_readers(type(self))}


@cache
def _build_fields(serializer: type[SharedFields]) -> BindingDict:
    owner = serializer()
    fields = BindingDict(owner)
    for name, each in owner.get_fields().items():
        fields[name] = each
    return fields


@cache
def _build_readers(
    serializer: type[SharedFields],
) -> list[tuple[str, Callable[[Any], Any]]]:
    fields = _build_fields(serializer).items()
    return [(name, _build_reader(each)) for name, each in fields if not each.write_only]


def _build_reader(field: Any) -> Callable[[Any], Any]:
    """Return a function from an object to the representation of the field."""
    if isinstance(field, serializers.SerializerMethodField):
        return partial(getattr(type(field.parent), field.method_name), field.parent)
    if isinstance(field, ObjectTypeField):
        return field.to_representation
    get = attrgetter(field.source)
    convert = _CONVERTERS.get(type(field), field.to_representation)

    def read(instance: Any) -> Any:
        value = get(instance)
        return None if value is None else convert(value)

    return read


def format_datetime(moment: datetime) -> str:
    """Return a time as DRF does: ISO 8601, in UTC with a Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {
    serializers.DateTimeField: format_datetime,
    serializers.JSONField: lambda value: value,
    serializers.UUIDField: str,
}


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that rejects unknown fields.

    ``names_elsewhere`` are those of a field's own fields, which callers often send one
    level too high.
    """

    names_elsewhere: Collection[str] = ()
    # Programs that export tables write null for a value that is not given.
    omits_null = False

    def to_internal_value(self, data: Any) -> Any:
        """Reject unknown fields, then parse the known ones."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)  # rejects it
        for name in data:
            if name not in self.fields:
                known = [*self.fields, *self.names_elsewhere]
                raise InvalidRequest(
                    f"Unknown field.{suggestions.hint(name, known)}",
                    code="field_unknown",
                    pointer=pointer_to(name),
                )
        if self.omits_null:
            data = {name: value for name, value in data.items() if value is not None}
        return super().to_internal_value(data)


class ObjectTypeField(serializers.Field[Any, Any, Any, Any]):
    """The constant ``object`` field: the type of the resource."""

    def __init__(self, name: str) -> None:
        super().__init__(source="*", read_only=True)
        self._name = name

    def to_representation(self, _instance: Any) -> str:
        """Return the name of the type."""
        return self._name


CURRENCY = "USD"  # of the prices in the settings


class CurrencyField(ObjectTypeField):
    """The currency of the costs beside it (ISO 4217)."""

    def __init__(self) -> None:
        super().__init__(CURRENCY)


class NullableTextField(serializers.CharField):
    """Text in a response; null instead of an empty one."""

    def __init__(self, **more: Any) -> None:
        super().__init__(read_only=True, allow_null=True, **more)

    def to_representation(self, value: Any) -> Any:
        """Return the text, or None."""
        return value or None


class PageOutput(serializers.Serializer[Any]):
    """One page of a list, newest first; subclasses add ``data``."""

    has_more = serializers.BooleanField()
    next_cursor = serializers.CharField(allow_null=True)


def _describe_metadata(*more: dict[str, str]) -> dict[str, Any]:
    """Return the schema of metadata whose values may have ``more`` types."""
    text = {"type": "string", "maxLength": METADATA_LENGTH}
    types = [text, {"type": "number"}, {"type": "boolean"}, *more]
    return {
        "type": "object",
        "maxProperties": METADATA_KEYS,
        "propertyNames": {"minLength": 1, "maxLength": METADATA_LENGTH},
        "additionalProperties": {"anyOf": types},
    }


@extend_schema_field(_describe_metadata())
class MetadataField(serializers.Field[Any, Any, Any, Any]):
    """Flat key-value data of the customer; the platform does not interpret it."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the metadata without keys that are null; raises InvalidRequest."""
        return check_metadata(check_object(data, "metadata"))


@extend_schema_field(_describe_metadata({"type": "null"}))
class MetadataChangesField(serializers.Field[Any, Any, Any, Any]):
    """Changes of metadata (RFC 7396): a value sets a key, null removes it."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the changes; the merged metadata is checked by its user."""
        return check_object(data, "metadata")


def check_metadata(data: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata without keys that are null; raises InvalidRequest."""
    metadata = {key: value for key, value in data.items() if value is not None}
    if len(metadata) > METADATA_KEYS:
        _refuse_metadata(f"Metadata has at most {METADATA_KEYS} keys.")
    for key, value in metadata.items():
        if not 0 < len(key) <= METADATA_LENGTH or not is_storable(key):
            _refuse_metadata(f"A key has 1 to {METADATA_LENGTH} characters.")
        if not isinstance(value, str | int | float):
            _refuse_metadata("A value must be a string, a number or a boolean.", key)
        if isinstance(value, str) and len(value) > METADATA_LENGTH:
            _refuse_metadata(f"A string has at most {METADATA_LENGTH} characters.", key)
        if not is_storable(str(value)):
            _refuse_metadata("A string must not contain NUL or lone surrogates.", key)
    return metadata


@extend_schema_field(
    {"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_URL_LENGTH}
)
class UrlField(serializers.CharField):
    """A URL, which the egress policy checks."""

    def __init__(self, **more: Any) -> None:
        super().__init__(trim_whitespace=False, max_length=MAX_URL_LENGTH, **more)


class BoundedListField(serializers.ListField):
    """A list whose length is validated before its items, which may be many."""

    def to_internal_value(self, data: Any) -> Any:
        """Reject a list that is too long without validating its items."""
        if isinstance(data, list):
            self.run_validators(data)
        return super().to_internal_value(data)


class TrueFalseField(serializers.BooleanField):
    """A JSON boolean; 1 and "yes" are rejected."""

    def to_internal_value(self, data: Any) -> bool:
        """Return true or false; any other value is invalid."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class TextField(serializers.CharField):
    """A JSON string; unlike CharField it rejects numbers."""

    def to_internal_value(self, data: Any) -> str:
        """Return the string; raises ValidationError for other types."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """A JSON integer, which may be written as 3.0; numeric strings are rejected."""

    def to_internal_value(self, data: Any) -> int:
        """Return an integer; any other value is invalid."""
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


def check_object(data: Any, name: str) -> dict[str, Any]:
    """Return a JSON object; raises InvalidRequest for any other value."""
    if not isinstance(data, dict):
        refuse_field("Must be a JSON object.", name, "field_invalid")
    return data


def _refuse_metadata(message: str, *key: str) -> NoReturn:
    pointer = pointer_to("metadata", *key)
    raise InvalidRequest(message, code="metadata_invalid", pointer=pointer)


def refuse_field(message: str, name: str, code: str) -> NoReturn:
    """Raise InvalidRequest for a field of the body."""
    raise InvalidRequest(message, code=code, pointer=pointer_to(name))
