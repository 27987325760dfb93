"""Serializers of the batches API."""

from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs.accounts.caller import Caller
from jobs.api.jobs.serializers import MAX_EXPIRY_SECONDS, JobInput, parse_expiry
from jobs.batches import item_file, records
from jobs.batches import statistics as batch_statistics
from jobs.batches.item_file import BatchSubmission
from jobs.batches.item_input import BatchItemInput
from jobs.batches.items import ItemRules
from jobs.batches.records import BatchDraft
from jobs.errors import InvalidRequest, ValidationErrors
from jobs.models import Batch
from jobs.parsing.strict_json import pointer_to
from jobs.rest import idempotency
from jobs.rest.field_errors import to_field_errors
from jobs.rest.serializers import (
    BoundedListField,
    CurrencyField,
    MetadataField,
    ObjectTypeField,
    StrictSerializer,
    UrlField,
    WholeNumberField,
)

MAX_ITEMS = 1000
_URL = {"type": ["string", "null"], "format": "uri"}


class BatchSettingsInput(StrictSerializer):
    """Settings of a batch, for a list of items or a manifest.

    Items override ``defaults``; options and metadata are merged by name.
    """

    omits_null = True

    defaults = serializers.DictField(required=False)
    metadata = MetadataField(required=False)
    callback_url = UrlField(required=False)
    expires_at = serializers.DateTimeField(required=False)
    expires_in_seconds = WholeNumberField(
        required=False, min_value=1, max_value=MAX_EXPIRY_SECONDS
    )
    on_error = serializers.ChoiceField(
        choices=["reject", "skip"],
        required=False,
        help_text="`reject`: one invalid item rejects the whole batch. `skip`: invalid"
        " items are omitted and listed.",
    )

    def validate_defaults(self, defaults: dict[str, Any]) -> dict[str, Any]:
        """Raise InvalidRequest for defaults that make every item invalid."""
        for name in ("audio_url", "custom_id"):
            if name in defaults:
                raise InvalidRequest(
                    f"{name} cannot have a default: set it in each item.",
                    code="field_unknown",
                    pointer=pointer_to("defaults", name),
                )
        try:
            read = BatchItemInput(data=defaults, partial=True, context=self.context)
            read.is_valid(raise_exception=True)
        except (InvalidRequest, serializers.ValidationError) as error:
            raise ValidationErrors(to_field_errors(error, "defaults")) from None
        return defaults

    def validate_callback_url(self, url: str) -> str:
        """Raise InvalidRequest for a URL that is not allowed."""
        return JobInput().validate_callback_url(url)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Validate the combination of fields."""
        if "expires_at" in attrs and "expires_in_seconds" in attrs:
            raise InvalidRequest(
                "Set either expires_at or expires_in_seconds, not both.",
                code="field_conflict",
                pointer="/expires_at",
            )
        return attrs

    def rules(self, *, caller: Caller, now: datetime) -> ItemRules:
        """Return the rules of all items; InvalidRequest for a deadline in the past."""
        return ItemRules(
            tenant=caller.tenant,
            api_key=caller.api_key,
            defaults=self.validated_data.get("defaults", {}),
            expires_at=parse_expiry(self.validated_data, now=now),
            now=now,
        )

    @property
    def skips_invalid_items(self) -> bool:
        """Whether invalid items are skipped instead of rejecting the batch."""
        return bool(self.validated_data.get("on_error") == "skip")

    def batch(self, rules: ItemRules) -> Batch:
        """Build the unsaved batch without its jobs."""
        return records.build_batch(
            tenant=rules.tenant,
            api_key=rules.api_key,
            draft=BatchDraft(
                metadata=self.validated_data.get("metadata", {}),
                callback_url=self.validated_data.get("callback_url", ""),
                expires_at=rules.expires_at,
            ),
            now=rules.now,
        )


@extend_schema_field({"type": "object", "additionalProperties": {}})
class ItemField(serializers.JSONField):
    """An unvalidated item: ``jobs.batches.items`` validates all items together."""


class BatchInput(BatchSettingsInput):
    """A batch of up to 1,000 jobs."""

    items = BoundedListField(child=ItemField(), min_length=1, max_length=MAX_ITEMS)

    def submission(self, *, caller: Caller, now: datetime) -> BatchSubmission:
        """Return the submission; its items are not checked yet."""
        rules = self.rules(caller=caller, now=now)
        return BatchSubmission(
            batch=self.batch(rules),
            rules=rules,
            skips_invalid_items=self.skips_invalid_items,
            digest=idempotency.compute_digest(self.initial_data),
            check=partial(item_file.check_list, self.validated_data["items"], rules),
        )


class BatchCountsOutput(serializers.Serializer[Any]):
    """The number of jobs of a batch by status."""

    total = serializers.IntegerField()
    open = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    canceled = serializers.IntegerField()
    expired = serializers.IntegerField()


class BatchOutput(serializers.Serializer[Batch]):
    """A batch."""

    id = serializers.UUIDField()
    object = ObjectTypeField("batch")
    status = serializers.SerializerMethodField()
    outcome = serializers.SerializerMethodField()
    counts = serializers.SerializerMethodField()
    percent = serializers.SerializerMethodField()
    skipped = serializers.IntegerField()
    audio_seconds_done = serializers.SerializerMethodField()
    audio_seconds_ahead = serializers.SerializerMethodField()
    cost_estimate = serializers.DecimalField(max_digits=14, decimal_places=6)
    currency = CurrencyField()
    eta_seconds = serializers.SerializerMethodField()
    metadata = serializers.JSONField()
    retry_of = serializers.UUIDField(source="retry_of_id", allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    erased_at = serializers.DateTimeField(allow_null=True)
    jobs_url = serializers.SerializerMethodField()
    results_url = serializers.SerializerMethodField()
    errors_url = serializers.SerializerMethodField()
    archive_url = serializers.SerializerMethodField()

    @extend_schema_field({"type": "string", "enum": list(batch_statistics.BatchStatus)})
    def get_status(self, batch: Batch) -> str:
        """Return the status."""
        return batch_statistics.get_status(batch)

    @extend_schema_field(
        {
            "anyOf": [
                {"type": "string", "enum": list(batch_statistics.BatchOutcome)},
                {"type": "null"},
            ],
            "description": "How it ended; null before. A skipped item is a failure.",
        }
    )
    def get_outcome(self, batch: Batch) -> str | None:
        """Return how it ended."""
        return batch_statistics.get_outcome(batch)

    def get_percent(self, batch: Batch) -> int:
        """Return the percentage of jobs that have ended."""
        return batch_statistics.compute_percent(batch)

    def get_audio_seconds_done(self, batch: Batch) -> float:
        """Return the seconds of audio that were transcribed."""
        return round(batch.audio_seconds, 3)

    @extend_schema_field(serializers.FloatField(allow_null=True))
    def get_audio_seconds_ahead(self, batch: Batch) -> float | None:
        """Return the estimated seconds of audio that remain."""
        return batch_statistics.audio_seconds_ahead(batch)

    @extend_schema_field(serializers.FloatField(allow_null=True))
    def get_eta_seconds(self, batch: Batch) -> float | None:
        """Return the estimated seconds until the batch ends; null if unknown."""
        now: datetime = self.context.get("now") or batch.created_at
        return batch_statistics.eta_seconds(batch, now=now)

    @extend_schema_field(BatchCountsOutput)
    def get_counts(self, batch: Batch) -> dict[str, int]:
        """Return the number of jobs by status."""
        return batch_statistics.get_counts(batch)

    def get_jobs_url(self, batch: Batch) -> str:
        """Return the URL that lists its jobs."""
        return f"{settings.BASE_URL}/v1/jobs?batch_id={batch.pk}"

    @extend_schema_field(_URL)
    def get_results_url(self, batch: Batch) -> str | None:
        """Return the URL of the manifest of its results."""
        return _build_url(batch, "results")

    @extend_schema_field(_URL)
    def get_errors_url(self, batch: Batch) -> str | None:
        """Return the URL of the manifest of its errors."""
        return _build_url(batch, "errors")

    @extend_schema_field(_URL)
    def get_archive_url(self, batch: Batch) -> str | None:
        """Return the URL of the archive of its transcripts."""
        return _build_url(batch, "transcripts.zip")


def _build_url(batch: Batch, name: str) -> str | None:
    if batch.erased_at:
        return None
    return f"{settings.BASE_URL}/v1/batches/{batch.pk}/{name}"
