"""Serializers of the jobs endpoints.

Input serializers validate and never save; output serializers make no queries.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from jobs import options
from jobs.accounts import tenants
from jobs.egress import policy as egress_policy
from jobs.errors import InvalidRequest
from jobs.models import Attempt, Content, Job, Mode, Priority
from jobs.parsing.strict_json import has_control_character, is_storable
from jobs.rest.serializers import (
    JSON_OBJECT,
    BoundedListField,
    CurrencyField,
    MetadataChangesField,
    MetadataField,
    NullableTextField,
    ObjectTypeField,
    SharedFields,
    StrictSerializer,
    UrlField,
    WholeNumberField,
    check_object,
    format_datetime,
    refuse_field,
)
from jobs.retention.retention import MAX_DAYS, MIN_DAYS
from jobs.routing.hybrid_router import DurationSource, RouteMode, RouteReason
from jobs.scheduling.queue_position import QueuePosition
from jobs.scheduling.waiting import WaitingReason, WaitReason
from jobs.services import JobDraft
from jobs.state import JobStatus

MAX_CUSTOM_ID = 128
MAX_EXPIRY_SECONDS = 30 * 24 * 3600
PRIORITIES = [priority.name.lower() for priority in Priority]


@extend_schema_field(options.build_schema())
class OptionsField(serializers.Field[Any, Any, Any, Any]):
    """Deepgram options, by name and type; ``JobInput`` checks them."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the object; raises InvalidRequest."""
        return check_object(data, "options")


class _CheckedOptions(dict[str, Any]):
    """Options to store, with warnings about others that were ignored."""

    warnings: Sequence[dict[str, str]] = ()


class RetentionInput(StrictSerializer):
    """Days to retain a job's content after it ends, at most the tenant's limit.

    With ``audio_days`` 0 the audio is erased as soon as the job ends.
    """

    omits_null = True

    audio_days = WholeNumberField(
        required=False, min_value=MIN_DAYS[Content.AUDIO], max_value=MAX_DAYS
    )
    transcript_days = WholeNumberField(
        required=False, min_value=MIN_DAYS[Content.TRANSCRIPT], max_value=MAX_DAYS
    )
    payload_days = WholeNumberField(
        required=False, min_value=MIN_DAYS[Content.PAYLOAD], max_value=MAX_DAYS
    )


@extend_schema_field(
    {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_CUSTOM_ID,
        "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
    }
)
class CustomIdField(serializers.CharField):
    """The customer's own id of a job; with ``takes_numbers`` also a number."""

    def __init__(self, *, takes_numbers: bool = False, **more: Any) -> None:
        super().__init__(trim_whitespace=False, max_length=MAX_CUSTOM_ID, **more)
        self._takes_numbers = takes_numbers

    def to_internal_value(self, data: Any) -> str:
        """Reject control characters and text that cannot be stored."""
        if not isinstance(data, str) and not self._takes_numbers:
            self.fail("invalid")
        custom_id = super().to_internal_value(data)
        if not is_storable(custom_id) or has_control_character(custom_id):
            message = "A custom_id must not contain control characters."
            raise InvalidRequest(message, code="field_invalid", pointer="/custom_id")
        return custom_id


class JobInput(SharedFields, StrictSerializer):
    """A request for a job: audio by URL or as a file, and options."""

    names_elsewhere = tuple(f"options.{name}" for name in options.OPTIONS)
    omits_null = True

    audio_url = UrlField(required=False)
    file = serializers.FileField(required=False, allow_empty_file=True)
    options = OptionsField(required=False)
    priority = serializers.ChoiceField(choices=PRIORITIES, required=False)
    callback_url = UrlField(required=False)
    metadata = MetadataField(required=False)
    custom_id = CustomIdField(required=False)
    allowed_regions = BoundedListField(
        child=serializers.CharField(max_length=40), required=False, max_length=20
    )
    max_attempts = WholeNumberField(required=False, min_value=1, max_value=10)
    expires_at = serializers.DateTimeField(required=False)
    expires_in_seconds = WholeNumberField(
        required=False, min_value=1, max_value=MAX_EXPIRY_SECONDS
    )
    retention = RetentionInput(required=False)

    def validate_options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Check the options by the policy of the tenant in the context."""
        tenant = self.context.get("tenant")
        if tenant is None:
            return options.check_options(given)
        policy = tenants.get_unknown_options(tenant)
        ignored = options.find_ignored(given, policy)
        kept = {name: value for name, value in given.items() if name not in ignored}
        checked = _CheckedOptions(options.check_options(kept, policy=policy))
        checked.warnings = options.warn_of_ignored(ignored, of="prerecorded audio")
        return checked

    def validate_audio_url(self, url: str) -> str:
        """Reject a URL that the egress policy forbids for audio."""
        egress_policy.check_audio_url(url, pointer="/audio_url")
        return url

    def validate_callback_url(self, url: str) -> str:
        """Reject a URL that the egress policy forbids for webhooks."""
        egress_policy.check_webhook_url(url, pointer="/callback_url")
        return url

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Reject conflicting fields."""
        if ("audio_url" in attrs) == ("file" in attrs):
            refuse_field(
                "Send either audio_url or a file.", "audio_url", "field_required"
            )
        if "expires_at" in attrs and "expires_in_seconds" in attrs:
            message = "Send either expires_at or expires_in_seconds, not both."
            refuse_field(message, "expires_at", "field_conflict")
        return attrs


class JobChanges(StrictSerializer):
    """The customer's own data of a job; omitted fields stay unchanged."""

    metadata = MetadataChangesField(
        required=False,
        help_text="Merged as RFC 7396: a value sets a key, null removes it.",
    )
    custom_id = CustomIdField(
        required=False, allow_null=True, help_text="Null removes it."
    )


class ErrorOutput(serializers.Serializer[Any]):
    """Why a job failed: a stable code and a sentence."""

    code = serializers.CharField()
    detail = serializers.CharField()


class ThresholdsOutput(serializers.Serializer[Any]):
    """The audio durations, in seconds, that separate the modes."""

    sync_below_seconds = serializers.FloatField()
    async_above_seconds = serializers.FloatField()


class RouteOutput(serializers.Serializer[Any]):
    """The mode of a request, and why it was chosen."""

    mode = serializers.ChoiceField(choices=[str(mode) for mode in RouteMode])
    reason = serializers.ChoiceField(choices=[str(reason) for reason in RouteReason])
    duration_seconds = serializers.FloatField(allow_null=True)
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field's name
        choices=[str(source) for source in DurationSource]
    )
    thresholds = ThresholdsOutput()
    region = serializers.CharField(allow_null=True)


class RetentionOutput(serializers.Serializer[Any]):
    """The retention that the job requested, and the content erased so far."""

    audio_days = serializers.IntegerField(allow_null=True)
    transcript_days = serializers.IntegerField(allow_null=True)
    payload_days = serializers.IntegerField(allow_null=True)
    erased = serializers.ListField(
        child=serializers.ChoiceField(choices=[c.name.lower() for c in Content])
    )


class JobOutput(SharedFields):
    """A job as customers see it."""

    id = serializers.UUIDField()
    object = ObjectTypeField("job")
    status = serializers.ChoiceField(choices=JobStatus.choices)
    mode = serializers.CharField()
    batch_id = serializers.UUIDField(allow_null=True)
    custom_id = serializers.SerializerMethodField()
    priority = serializers.SerializerMethodField()
    audio = serializers.SerializerMethodField()
    options = serializers.JSONField()
    metadata = serializers.JSONField()
    duration_seconds = serializers.FloatField(allow_null=True)
    attempt = serializers.IntegerField()
    max_attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.SerializerMethodField()
    expires_at = serializers.DateTimeField(allow_null=True)
    erased_at = serializers.DateTimeField(allow_null=True)
    retention = serializers.SerializerMethodField()
    retry_of = serializers.UUIDField(source="retry_of_id", allow_null=True)
    region = serializers.CharField(source="region_id", allow_null=True)
    error = serializers.SerializerMethodField()
    warnings = serializers.JSONField()
    result_url = serializers.SerializerMethodField()
    route = serializers.SerializerMethodField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_custom_id(self, job: Job) -> str | None:
        """Return the customer's own id of the job."""
        return job.custom_id or None

    @extend_schema_field({"type": "string", "enum": PRIORITIES})
    def get_priority(self, job: Job) -> str:
        """Return the name of the priority."""
        return Priority(job.priority).name.lower()

    @extend_schema_field(JSON_OBJECT)
    def get_audio(self, job: Job) -> dict[str, Any]:
        """Return the source of the audio; its query string may be a secret."""
        if job.erased_at:
            return {}
        if job.mode == Mode.LIVE:
            return {"stream": True}
        if job.audio_url:
            return {"url": strip_query(job.audio_url)}
        if not (job.upload or job.filename):
            return {}
        return {"filename": job.filename or None, "size_bytes": job.size_bytes}

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, job: Job) -> str | None:
        """Return when a queued job is retried."""
        if job.status != JobStatus.QUEUED or job.ready or job.run_at is None:
            return None
        return format_datetime(job.run_at)

    @extend_schema_field(ErrorOutput(allow_null=True))
    def get_error(self, job: Job) -> dict[str, str] | None:
        """Return why the job failed."""
        if not job.error_code:
            return None
        return {"code": job.error_code, "detail": job.error_detail}

    @extend_schema_field(RouteOutput(allow_null=True))
    def get_route(self, job: Job) -> dict[str, Any] | None:
        """Return the routing decision, for jobs that had a choice of mode."""
        return {**job.route, "region": job.region_id} if job.route else None

    @extend_schema_field(RetentionOutput)
    def get_retention(self, job: Job) -> dict[str, Any]:
        """Return the requested retention and the erased content."""
        days = {c.setting: job.retention.get(c.setting) for c in Content}
        erased = [c.name.lower() for c in Content if job.has_erased(c)]
        return {**days, "erased": erased}

    def get_result_url(self, job: Job) -> str | None:
        """Return the URL of the transcript, if there is one."""
        if job.status != JobStatus.COMPLETED or job.erased_at:
            return None
        if job.has_erased(Content.TRANSCRIPT):
            return None
        return f"{settings.BASE_URL}/v1/transcripts/{job.pk}"


@extend_schema_serializer(component_name="StandingOutput")  # its public name
class QueuePositionOutput(serializers.Serializer[QueuePosition]):
    """The position of a queued job in its tenant's queue; 1 is next.

    ``eta_seconds`` is estimated from recent work; null if there is none.
    """

    position = serializers.IntegerField()
    is_capped = serializers.BooleanField()
    audio_seconds_ahead = serializers.FloatField()
    eta_seconds = serializers.FloatField(allow_null=True)


class WaitingOutput(serializers.Serializer[WaitingReason]):
    """Why a queued job does not run yet.

    ``until`` is when that changes, if it is known.
    """

    reason = serializers.ChoiceField(choices=[str(reason) for reason in WaitReason])
    detail = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)


class JobDetailOutput(JobOutput):
    """A job with its queue position and the reason why it waits."""

    queue = QueuePositionOutput(allow_null=True)
    waiting = WaitingOutput(allow_null=True)


def build_detail(
    job: Job, position: QueuePosition | None, waiting: WaitingReason | None
) -> dict[str, Any]:
    """Return the body that ``JobDetailOutput`` describes."""
    return {
        **JobOutput(job).data,
        "queue": QueuePositionOutput(position).data if position else None,
        "waiting": WaitingOutput(waiting).data if waiting else None,
    }


class ErasureOutput(serializers.Serializer[Any]):
    """The receipt of an erasure: how many objects of each kind were erased."""

    job_id = serializers.UUIDField(source="job.pk")
    object = ObjectTypeField("erasure")
    erased_at = serializers.DateTimeField()
    erased = serializers.DictField(child=serializers.IntegerField())


class AttemptOutput(serializers.ModelSerializer[Attempt]):
    """One upstream call of a job."""

    region = serializers.CharField(source="region_id")
    request_id = NullableTextField()
    trace_id = NullableTextField()
    error_code = NullableTextField()
    sent_type = NullableTextField()
    currency = CurrencyField()

    class Meta:
        model = Attempt
        fields = [
            "id",
            "outcome",
            "region",
            "request_id",
            "trace_id",
            "status_code",
            "error_code",
            "sent_bytes",
            "sent_type",
            "audio_seconds",
            "cost_estimate",
            "currency",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields


class AttemptPage(serializers.Serializer[Any]):
    """All upstream calls of one job, oldest first."""

    data = AttemptOutput(many=True)  # type: ignore[assignment]


def strip_query(url: str) -> str:
    """Return the URL without its query string, which may be a signature."""
    return urlunsplit(urlsplit(url)._replace(query=""))


def get_retry_after(job: Job, *, now: datetime) -> int | None:
    """Return the seconds to wait before polling the job, or None once it is final."""
    if job.is_final:
        return None
    if job.run_at and job.status == JobStatus.QUEUED:
        return max(1, min(60, math.ceil((job.run_at - now).total_seconds())))
    return 2


def build_draft(fields: dict[str, Any], *, now: datetime) -> JobDraft:
    """Return the draft of valid fields; deadlines count from ``now``."""
    chosen = fields.get("options", {})
    return JobDraft(
        audio_url=fields.get("audio_url", ""),
        options=chosen,
        warnings=list(getattr(chosen, "warnings", ())),
        metadata=fields.get("metadata", {}),
        callback_url=fields.get("callback_url", ""),
        priority=Priority[fields.get("priority", "normal").upper()],
        allowed_regions=fields.get("allowed_regions", []),
        max_attempts=fields.get("max_attempts"),
        expires_at=parse_expiry(fields, now=now),
        retention=dict(fields.get("retention", {})),
        custom_id=fields.get("custom_id", ""),
    )


def parse_expiry(fields: dict[str, Any], *, now: datetime) -> datetime | None:
    """Return the requested deadline; InvalidRequest for one out of range."""
    expires_at: datetime | None = fields.get("expires_at")
    if seconds := fields.get("expires_in_seconds"):
        expires_at = now + timedelta(seconds=seconds)
    latest = now + timedelta(seconds=MAX_EXPIRY_SECONDS)
    if expires_at and not now < expires_at <= latest:
        message = "The deadline must be in the future, within 30 days."
        refuse_field(message, "expires_at", "field_invalid")
    return expires_at
