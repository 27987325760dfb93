"""Serializer of a batch item: a job by URL."""

from typing import Any

from jobs.api.jobs.serializers import CustomIdField, JobInput


class BatchItemInput(JobInput):
    """One job of a batch: as a single job, by URL."""

    file = None  # type: ignore[assignment]  # removes the inherited field
    # Programs that export tables write numbers.
    custom_id = CustomIdField(required=False, takes_numbers=True)

    def read_field(self, name: str, value: Any) -> Any:
        """Validate one field alone."""
        read = self.fields[name].run_validation(value)
        check = getattr(self, f"validate_{name}", None)
        return check(read) if check else read

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Validate the combination of fields; defaults need no audio."""
        return attrs if self.partial else super().validate(attrs)
