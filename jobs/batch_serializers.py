"""Shapes of the batches API: what comes in, and what a batch looks like outside."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs import batches
from jobs.batches import BatchDraft
from jobs.errors import Fault, InvalidRequest
from jobs.faults import faults_of
from jobs.models import Batch
from jobs.serializers import JobInput, MetadataField, StrictSerializer
from jobs.services import JobDraft

MAX_ITEMS = 1000


class BatchItemInput(JobInput):
    """One job of a batch: as a single job, by URL."""

    file = None  # type: ignore[assignment]  # how DRF takes a field away

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what fields say together; defaults alone need no audio."""
        return attrs if self.partial else super().validate(attrs)


class BatchInput(StrictSerializer):
    """Up to a thousand jobs at once; what ``defaults`` says holds unless an item does.

    Options and metadata are laid over each other name by name.
    """

    items = serializers.ListField(
        child=serializers.DictField(), min_length=1, max_length=MAX_ITEMS
    )
    defaults = serializers.DictField(required=False)
    metadata = MetadataField(required=False)
    callback_url = serializers.CharField(
        required=False, trim_whitespace=False, max_length=2048
    )

    def validate_defaults(self, defaults: dict[str, Any]) -> dict[str, Any]:
        """Refuse defaults that would make every item wrong."""
        if "audio_url" in defaults:
            raise InvalidRequest(
                "Each item has an audio_url of its own.",
                code="field_unknown",
                pointer="/defaults/audio_url",
            )
        try:
            read = BatchItemInput(data=defaults, partial=True)
            read.is_valid(raise_exception=True)
        except (InvalidRequest, serializers.ValidationError) as error:
            batches.check_faults(faults_of(error, "defaults"))
        return defaults

    def validate_callback_url(self, url: str) -> str:
        """Refuse a URL that we must not be sent to."""
        return JobInput().validate_callback_url(url)

    def draft(self, *, now: datetime) -> BatchDraft:
        """Return the checked batch; raises ManyFaults with the place of each fault."""
        asked: dict[str, Any] = self.validated_data
        drafts: list[JobDraft] = []
        faults: list[Fault] = []
        for index, item in enumerate(asked["items"]):
            try:
                drafts.append(_read_item(asked.get("defaults", {}), item, now=now))
            except (InvalidRequest, serializers.ValidationError) as error:
                faults += faults_of(error, "items", index)
        batches.check_faults(faults)
        return BatchDraft(
            jobs=drafts,
            metadata=asked.get("metadata", {}),
            callback_url=asked.get("callback_url", ""),
        )


class BatchCountsOutput(serializers.Serializer[Any]):
    """How many jobs a batch has, and how they ended so far."""

    total = serializers.IntegerField()
    open = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    canceled = serializers.IntegerField()
    expired = serializers.IntegerField()


class BatchOutput(serializers.Serializer[Batch]):
    """A batch as customers see it."""

    id = serializers.UUIDField()
    object = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()
    counts = serializers.SerializerMethodField()
    metadata = serializers.JSONField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    erased_at = serializers.DateTimeField(allow_null=True)
    jobs_url = serializers.SerializerMethodField()

    def get_object(self, _batch: Batch) -> str:
        """Return the kind of thing this is."""
        return "batch"

    @extend_schema_field({"type": "string", "enum": ["processing", "completed"]})
    def get_status(self, batch: Batch) -> str:
        """Return whether all its jobs have ended."""
        return batches.status_of(batch)

    @extend_schema_field(BatchCountsOutput)
    def get_counts(self, batch: Batch) -> dict[str, int]:
        """Return its counters."""
        return batches.counts_of(batch)

    def get_jobs_url(self, batch: Batch) -> str:
        """Return where its jobs are listed."""
        return f"{settings.BASE_URL}/v1/jobs?batch_id={batch.pk}"


class BatchPage(serializers.Serializer[Any]):
    """One page of a tenant's batches, newest first."""

    data = BatchOutput(many=True)  # type: ignore[assignment]  # a field of that name
    has_more = serializers.BooleanField()
    next_cursor = serializers.CharField(allow_null=True)


def _read_item(
    defaults: Mapping[str, Any], item: Mapping[str, Any], *, now: datetime
) -> JobDraft:
    read = BatchItemInput(data=_lay_over(defaults, item))
    read.is_valid(raise_exception=True)
    return read.submission(now=now).draft


def _lay_over(defaults: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    laid = {**defaults, **item}
    for name in ("options", "metadata"):
        under, over = defaults.get(name), item.get(name)
        if isinstance(under, dict) and isinstance(over, dict):
            laid[name] = {**under, **over}
    return laid
