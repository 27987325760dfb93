"""Serializers of the usage endpoints."""

from typing import Any

from rest_framework import serializers

from jobs.quotas.usage import GROUPS, Usage
from jobs.rest.serializers import CurrencyField, ObjectTypeField


class UsageTotals(serializers.Serializer[Any]):
    """Sums over calls; ``calls`` includes ``unknown_calls``, whose outcome was lost."""

    jobs = serializers.IntegerField()
    calls = serializers.IntegerField()
    failed_calls = serializers.IntegerField()
    unknown_calls = serializers.IntegerField()
    audio_seconds = serializers.FloatField()
    cost_estimate = serializers.DecimalField(
        max_digits=None, decimal_places=6, allow_null=True
    )
    currency = CurrencyField()


class UsageRow(UsageTotals):
    """The sums of one group; has only the fields that the report is grouped by."""

    day = serializers.DateField(required=False)
    model = serializers.CharField(required=False, allow_null=True)
    region = serializers.CharField(required=False)
    key = serializers.CharField(required=False, allow_null=True)
    batch = serializers.UUIDField(required=False, allow_null=True)

    def to_representation(self, row: Any) -> dict[str, Any]:
        """Omit the fields that the report is not grouped by; DRF would return null."""
        shown = super().to_representation(row)
        return {
            name: None if value == "" else value
            for name, value in shown.items()
            if name in row or name == "currency"
        }


class UsageOutput(serializers.Serializer[Usage]):
    """A usage report."""

    object = ObjectTypeField("usage")
    group_by = serializers.ListField(child=serializers.ChoiceField(list(GROUPS)))
    data = UsageRow(many=True, source="rows")  # type: ignore[assignment]
    totals = UsageTotals()

    def get_fields(self) -> dict[str, Any]:
        """Add ``from`` and ``to``: ``from`` is a Python keyword."""
        return {
            "from": serializers.DateField(source="since"),
            "to": serializers.DateField(source="until"),
            **super().get_fields(),
        }


class QuotaOutput(serializers.Serializer[Any]):
    """One quota of the tenant; without a limit, usage is not counted."""

    name = serializers.CharField()
    limit = serializers.IntegerField(allow_null=True)
    used = serializers.FloatField(allow_null=True)
    reserved = serializers.FloatField(allow_null=True)
    remaining = serializers.FloatField(allow_null=True)
    resets_at = serializers.DateTimeField(allow_null=True)


class QuotaPage(serializers.Serializer[Any]):
    """All quotas of the tenant."""

    data = QuotaOutput(many=True)  # type: ignore[assignment]  # a field of that name
