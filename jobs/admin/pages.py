"""Admin pages of tenants, API keys, regions, jobs and batches.

Every change uses the services of the API and is audited as ``admin:<user name>``. No
page shows a digest or the query string of a URL.
"""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from jobs.accounts import keys, tenants
from jobs.admin import operator_actions
from jobs.admin.base import ReadOnlyAdmin, ServiceAdmin, get_operator_name
from jobs.admin.forms import KeyChangeForm, KeyForm, RegionForm, TenantForm
from jobs.admin.lists import CreatedFilter, LiveFilter, search_jobs
from jobs.api.jobs.serializers import strip_query
from jobs.models import ApiKey, Batch, BatchState, Job, Region, Tenant
from jobs.routing import regions
from jobs.state import JobStatus


@admin.register(Tenant)
class TenantAdmin(ServiceAdmin):
    """Tenants, their limits and weights."""

    form = TenantForm
    list_display = (
        "name",
        "is_active",
        "is_paused",
        "weight",
        "max_in_flight",
        "highest_priority",
    )
    list_filter = ("is_active", "is_paused")
    search_fields = ("name",)
    ordering = ("name",)
    readonly_fields = ("id", "is_paused", "created_at")
    actions = operator_actions.OF_TENANTS

    def save_model(
        self, request: HttpRequest, tenant: Any, form: Any, change: Any
    ) -> None:
        """Save the changes and audit them."""
        now, actor = timezone.now(), get_operator_name(request)
        if change:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            tenants.change_tenant(tenant=tenant, changes=changes, actor=actor, now=now)
        else:
            tenant.save()
            tenants.record_created(tenant, actor=actor, now=now)


@admin.register(ApiKey)
class ApiKeyAdmin(ServiceAdmin):
    """API keys; the key itself is shown only once, after it is issued."""

    list_display = (
        "public_id",
        "tenant",
        "name",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
    list_select_related = ("tenant",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("public_id", "name", "tenant__name")
    ordering = ("-id",)
    autocomplete_fields = ("tenant",)
    actions = operator_actions.OF_KEYS
    _fixed_fields = (
        "public_id",
        "replaced_by",
        "revoked_at",
        "last_used_at",
        "created_at",
    )

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002  Django's own
        **kwargs: Any,
    ) -> Any:
        """Use a form without scopes for an existing key."""
        kwargs["form"] = KeyChangeForm if obj else KeyForm
        return super().get_form(request, obj, change, **kwargs)

    def get_readonly_fields(self, _request: Any, key: Any = None) -> tuple[str, ...]:
        """Tenant and scopes of a key cannot change."""
        return ("tenant", "shown_scopes", *self._fixed_fields) if key else ()

    def get_fields(self, _request: Any, key: Any = None) -> tuple[str, ...]:
        """Return the fields of the form, and for an existing key the read-only ones."""
        editable = ("name", "allowed_ips", "expires_at")
        if not key:
            return ("tenant", "scopes", *editable)
        return ("tenant", "shown_scopes", *editable, *self._fixed_fields)

    @admin.display(description="Scopes")
    def shown_scopes(self, key: ApiKey) -> str:
        """Return the scopes."""
        return ", ".join(key.scopes)

    def save_model(
        self, request: HttpRequest, key: Any, form: Any, change: Any
    ) -> None:
        """Issue or change the key."""
        now, actor, fields = (
            timezone.now(),
            get_operator_name(request),
            form.cleaned_data,
        )
        if change:
            changes = {name: fields[name] for name in form.changed_data}
            keys.change_key(key=key, changes=changes, actor=actor, now=now)
            return
        draft = keys.KeyDraft(
            name=fields["name"],
            scopes=tuple(fields["scopes"]),
            allowed_ips=tuple(fields["allowed_ips"]),
            expires_at=fields["expires_at"],
        )
        issued, key.text = keys.issue_key(
            tenant=fields["tenant"], draft=draft, actor=actor, now=now
        )
        key.pk, key.public_id = issued.pk, issued.public_id

    def response_add(
        self,
        request: HttpRequest,
        key: Any,
        post_url_continue: str | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Show the new key once."""
        return operator_actions.show_keys(self, request, [(key, key.text)])


@admin.register(Region)
class RegionAdmin(ServiceAdmin):
    """Regions: limits by form, state by action."""

    form = RegionForm
    _state_fields = (
        "is_enabled",
        "is_drained",
        "is_pinned",
        "paused_until",
        "paused_reason",
    )
    fields = (
        *("name", "base_url", "key_setting", "max_concurrent", "max_per_minute"),
        *("max_streams", "pools", "weight", *_state_fields),
    )
    # Avoids Django's deprecation warning about the default scheme.
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}
    list_display = (
        *("name", "base_url", "max_concurrent", "max_per_minute", "max_streams"),
        *_state_fields,
    )
    readonly_fields = _state_fields
    ordering = ("name",)
    actions = operator_actions.OF_REGIONS

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields that actions change, and the name of an existing region."""
        return (*(("name",) if obj else ()), *super().get_readonly_fields(request, obj))

    def save_model(
        self, request: HttpRequest, region: Any, form: Any, change: Any
    ) -> None:
        """Create or change the region."""
        names = form.changed_data if change else form.cleaned_data
        changes = {name: form.cleaned_data[name] for name in names if name != "name"}
        regions.set_region(
            name=region.pk,
            changes=changes,
            actor=get_operator_name(request),
            now=timezone.now(),
        )


_TONES = {
    JobStatus.PROCESSING: "busy",
    JobStatus.COMPLETED: "good",
    JobStatus.FAILED: "bad",
    JobStatus.EXPIRED: "warn",
}


class JobAdmin(ReadOnlyAdmin):
    """Jobs; ``workers.admin_site.admin`` extends and registers this class."""

    list_display = ("made_at", "shown_status", "tenant", "priority", "region", "id")
    list_display_links = ("made_at", "id")
    list_select_related = ("tenant",)
    list_filter = ("status", CreatedFilter, LiveFilter, "region")
    search_fields = ("id",)
    search_help_text = (
        "Exact job id, custom id, upstream request id, batch id or tenant name."
    )
    ordering = ("-id",)
    fields = (
        *("id", "tenant", "api_key", "batch", "retry_of", "status", "mode"),
        *("priority", "lane", "ready", "audio", "filename", "duration_seconds"),
        *("options", "metadata", "region", "worker", "attempt", "max_attempts"),
        *("crashes", "lease_token", "lease_until", "run_at", "expires_at"),
        *("error_code", "error_detail", "warnings", "created_at", "started_at"),
        *("finished_at", "erased_at", "links"),
    )
    readonly_fields = fields
    actions = operator_actions.OF_JOBS

    def get_search_results(
        self, _request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Search exact values by index."""
        term = search_term.strip()
        return (search_jobs(queryset, term) if term else queryset), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow lists of one tenant or one batch."""
        allowed = super().lookup_allowed(lookup, value, request)
        return lookup in {"tenant__id__exact", "batch__id__exact"} or allowed

    @admin.display(description="Status")
    def shown_status(self, job: Job) -> str:
        """Return the status in color."""
        return format_html(
            '<span class="state {}">{}</span>',
            _TONES.get(JobStatus(job.status), ""),
            job.get_status_display(),
        )

    @admin.display(description="Created (UTC)")
    def made_at(self, job: Job) -> str:
        """Return the time in seconds."""
        return f"{job.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Audio")
    def audio(self, job: Job) -> str:
        """Return the source without its query string, which may be a secret."""
        return strip_query(job.audio_url) if job.audio_url else job.upload

    @admin.display(description="More")
    def links(self, job: Job) -> str:
        """Link to the attempts and events of the job."""
        query = f"?job__id__exact={job.pk}"
        return format_html(
            '<a href="{}">Attempts</a> <a href="{}">Events</a>',
            reverse("admin:jobs_attempt_changelist") + query,
            reverse("admin:jobs_event_changelist") + query,
        )


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    """Batches."""

    list_display = ("made_at", "shown_state", "progress", "failed", "tenant", "id")
    list_display_links = ("made_at", "id")
    list_select_related = ("tenant",)
    ordering = ("-id",)
    fields = (
        *("id", "tenant", "shown_state", "progress", "completed", "failed", "canceled"),
        *("expired", "skipped", "audio_seconds", "cost_estimate", "created_at"),
        *("finished_at", "expires_at", "is_paused", "cancel_requested_at"),
        *("wanted_priority", "retry_of", "api_key", "metadata", "links"),
    )
    readonly_fields = fields
    actions = operator_actions.OF_BATCHES

    @admin.display(description="Created (UTC)")
    def made_at(self, batch: Batch) -> str:
        """Return the time in seconds."""
        return f"{batch.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="State")
    def shown_state(self, batch: Batch) -> str:
        """Return the state in color."""
        tone, word = "busy", "running"
        if batch.finished_at:
            tone, word = ("bad", "done") if batch.failed else ("good", "done")
        elif batch.state != BatchState.OPEN:
            word = batch.get_state_display().lower()
        elif batch.cancel_requested_at:
            tone, word = "warn", "canceling"
        elif batch.is_paused:
            tone, word = "warn", "paused"
        return format_html('<span class="state {}">{}</span>', tone, word)

    @admin.display(description="Progress")
    def progress(self, batch: Batch) -> str:
        """Show how many of its jobs have ended."""
        return format_html(
            '<progress max="{}" value="{}"></progress> {} of {}',
            *(batch.total, batch.done, f"{batch.done:,}", f"{batch.total:,}"),
        )

    @admin.display(description="More")
    def links(self, batch: Batch) -> str:
        """Link to the jobs of the batch."""
        jobs = reverse("admin:jobs_job_changelist") + f"?batch__id__exact={batch.pk}"
        failed = f"{jobs}&status__exact={JobStatus.FAILED}"
        return format_html(
            '<a href="{}">Jobs</a> <a href="{}">Failed</a>', jobs, failed
        )
