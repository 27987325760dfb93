"""Serializer of a batch item: a job by URL with a ``custom_id``."""

from typing import Any

from rest_framework import serializers

from jobs.api.jobs.serializers import JobInput
from jobs.errors import InvalidRequest
from jobs.parsing.strict_json import has_control_character, is_storable

MAX_CUSTOM_ID = 128


class BatchItemInput(JobInput):
    """One job of a batch: as a single job, by URL, and with an id of your own."""

    file = None  # type: ignore[assignment]  # removes the inherited field
    custom_id = serializers.CharField(
        required=False, trim_whitespace=False, max_length=MAX_CUSTOM_ID
    )

    def validate_custom_id(self, custom_id: str) -> str:
        """Reject control characters and text that cannot be stored."""
        if not is_storable(custom_id) or has_control_character(custom_id):
            message = "A custom_id must not contain control characters."
            raise InvalidRequest(message, code="field_invalid", pointer="/custom_id")
        return custom_id

    def read_field(self, name: str, value: Any) -> Any:
        """Validate one field alone."""
        read = self.fields[name].run_validation(value)
        check = getattr(self, f"validate_{name}", None)
        return check(read) if check else read

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Validate the combination of fields; defaults need no audio."""
        return attrs if self.partial else super().validate(attrs)
