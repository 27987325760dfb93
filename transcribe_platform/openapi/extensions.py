"""Teach drf-spectacular what the API's own serializers and authentication accept."""

from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
)

Schema = dict[str, Any]
# Marks a field that may be null, until transcribe_platform.openapi.hooks says so:
# drf-spectacular first makes components of enums, but not of nullable ones.
NULLABLE = "x-nullable"


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The security scheme of API keys."""

    target_class = "jobs.accounts.authentication.ApiKeyAuthentication"
    name = "ApiKey"
    match_subclasses = True

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        """Return the security scheme object."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "tp_live_…"}


class StrictBody(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A body whose unknown fields are rejected, and whose fields may be null."""

    target_class = "jobs.rest.serializers.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Schema:
        """Return the schema of the serializer."""
        schema: Schema = auto_schema._map_serializer(  # noqa: SLF001  as documented
            self.target, direction, bypass_extensions=True
        )
        schema["additionalProperties"] = False
        required = set(schema.get("required", ()))
        for name, field in schema.get("properties", {}).items():
            if field.get("type") == ["array", "null"]:
                field["type"] = "array"
                field[NULLABLE] = True
            elif self.target.omits_null and name not in required:
                field[NULLABLE] = True
        return schema


class ConstantField(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A field with one value, such as the type of a resource."""

    target_class = "jobs.rest.serializers.ObjectTypeField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:  # noqa: ARG002
        """Return the schema of the field."""
        return {"type": "string", "const": self.target.to_representation(None)}
