"""Admin pages of tenants, keys, regions and jobs, for staff.

Every change goes through the same services as the API and the commands, and is audited
as ``admin:<user name>``. No page shows a digest, or a URL's query string.
"""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from jobs.accounts import keys, tenants
from jobs.admin import steering as admin_steering
from jobs.admin.base import ReadOnlyAdmin, ServiceAdmin, actor_of
from jobs.admin.forms import KeyChangeForm, KeyForm, RegionForm, TenantForm
from jobs.admin.lists import CreatedFilter, LiveFilter, search_jobs
from jobs.api.jobs.serializers import without_query
from jobs.models import ApiKey, Batch, BatchState, Job, Region, Tenant
from jobs.routing import regions
from jobs.state import JobStatus


@admin.register(Tenant)
class TenantAdmin(ServiceAdmin):
    """Customers and their share."""

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
    actions = admin_steering.OF_TENANTS

    def save_model(
        self, request: HttpRequest, tenant: Any, form: Any, change: Any
    ) -> None:
        """Write what was changed, and who changed it."""
        now, actor = timezone.now(), actor_of(request)
        if change:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            tenants.change_tenant(tenant=tenant, changes=changes, actor=actor, now=now)
        else:
            tenant.save()
            tenants.record_created(tenant, actor=actor, now=now)


@admin.register(ApiKey)
class ApiKeyAdmin(ServiceAdmin):
    """API keys; only the page that follows its making shows the text of one."""

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
    actions = admin_steering.OF_KEYS
    _facts = ("public_id", "replaced_by", "revoked_at", "last_used_at", "created_at")

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002  Django's own
        **kwargs: Any,
    ) -> Any:
        """A key that is there has no scopes to choose."""
        kwargs["form"] = KeyChangeForm if obj else KeyForm
        return super().get_form(request, obj, change, **kwargs)

    def get_readonly_fields(self, _request: Any, key: Any = None) -> tuple[str, ...]:
        """Whose it is and what it may do is said once, when it is made."""
        return ("tenant", "shown_scopes", *self._facts) if key else ()

    def get_fields(self, _request: Any, key: Any = None) -> tuple[str, ...]:
        """Return the form's fields, or all that may be seen."""
        editable = ("name", "allowed_ips", "expires_at")
        if not key:
            return ("tenant", "scopes", *editable)
        return ("tenant", "shown_scopes", *editable, *self._facts)

    @admin.display(description="Scopes")
    def shown_scopes(self, key: ApiKey) -> str:
        """Return what it may do."""
        return ", ".join(key.scopes)

    def save_model(
        self, request: HttpRequest, key: Any, form: Any, change: Any
    ) -> None:
        """Issue or change the key."""
        now, actor, given = timezone.now(), actor_of(request), form.cleaned_data
        if change:
            changes = {name: given[name] for name in form.changed_data}
            keys.change_key(key=key, changes=changes, actor=actor, now=now)
            return
        draft = keys.KeyDraft(
            name=given["name"],
            scopes=tuple(given["scopes"]),
            allowed_ips=tuple(given["allowed_ips"]),
            expires_at=given["expires_at"],
        )
        made, key.text = keys.issue_key(
            tenant=given["tenant"], draft=draft, actor=actor, now=now
        )
        key.pk, key.public_id = made.pk, made.public_id

    def response_add(
        self,
        request: HttpRequest,
        key: Any,
        post_url_continue: str | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Show the text of the new key, once."""
        return admin_steering.show_keys(self, request, [(key, key.text)])


@admin.register(Region)
class RegionAdmin(ServiceAdmin):
    """Upstreams: limits by form, steering by action."""

    form = RegionForm
    _steered = (
        "is_enabled",
        "is_drained",
        "is_pinned",
        "paused_until",
        "paused_reason",
    )
    fields = (
        *("name", "base_url", "key_setting", "max_concurrent", "max_per_minute"),
        *("max_streams", "pools", "weight", *_steered),
    )
    # Django 5 warns of the scheme it takes for granted, http.
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}
    list_display = (
        *("name", "base_url", "max_concurrent", "max_per_minute", "max_streams"),
        *_steered,
    )
    ordering = ("name",)
    actions = admin_steering.OF_REGIONS

    def get_readonly_fields(self, _request: Any, region: Any = None) -> tuple[str, ...]:
        """Return what actions change; a region keeps its name."""
        return ("name", *self._steered) if region else self._steered

    def save_model(
        self, request: HttpRequest, region: Any, form: Any, change: Any
    ) -> None:
        """Make the region or change it."""
        names = form.changed_data if change else form.cleaned_data
        changes = {name: form.cleaned_data[name] for name in names if name != "name"}
        regions.set_region(
            name=region.pk, changes=changes, actor=actor_of(request), now=timezone.now()
        )


_TONES = {
    JobStatus.PROCESSING: "busy",
    JobStatus.COMPLETED: "good",
    JobStatus.FAILED: "bad",
    JobStatus.EXPIRED: "warn",
}


class JobAdmin(ReadOnlyAdmin):
    """Jobs, to look at and steer; ``workers.admin_site.admin`` registers it, with its page."""

    list_display = ("made_at", "shown_status", "tenant", "priority", "region", "id")
    list_display_links = ("made_at", "id")
    list_select_related = ("tenant",)
    list_filter = ("status", CreatedFilter, LiveFilter, "region")
    search_fields = ("id",)
    search_help_text = (
        "A job's id, custom id or upstream request id, a batch's id, a tenant's name:"
        " whole."
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
    actions = admin_steering.OF_JOBS

    def get_search_results(
        self, _request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Look for exactly what is named, by index."""
        term = search_term.strip()
        return (search_jobs(queryset, term) if term else queryset), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow the list of one tenant's or one batch's."""
        allowed = super().lookup_allowed(lookup, value, request)
        return lookup in {"tenant__id__exact", "batch__id__exact"} or allowed

    @admin.display(description="Status")
    def shown_status(self, job: Job) -> str:
        """Return the status in its colour."""
        return format_html(
            '<span class="state {}">{}</span>',
            _TONES.get(JobStatus(job.status), ""),
            job.get_status_display(),
        )

    @admin.display(description="Created (UTC)")
    def made_at(self, job: Job) -> str:
        """Return the time to the second, which is what one looks for."""
        return f"{job.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Audio")
    def audio(self, job: Job) -> str:
        """Return where it is from; the query string of a URL is a secret."""
        return without_query(job.audio_url) if job.audio_url else job.upload

    @admin.display(description="More")
    def links(self, job: Job) -> str:
        """Link to what belongs to the job."""
        of_job = f"?job__id__exact={job.pk}"
        return format_html(
            '<a href="{}">Attempts</a> <a href="{}">Events</a>',
            reverse("admin:jobs_attempt_changelist") + of_job,
            reverse("admin:jobs_event_changelist") + of_job,
        )


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    """Batches, to look at and steer."""

    list_display = ("made_at", "life", "progress", "failed", "tenant", "id")
    list_display_links = ("made_at", "id")
    list_select_related = ("tenant",)
    ordering = ("-id",)
    fields = (
        *("id", "tenant", "life", "progress", "completed", "failed", "canceled"),
        *("expired", "skipped", "audio_seconds", "cost_estimate", "created_at"),
        *("finished_at", "expires_at", "is_paused", "cancel_requested_at"),
        *("wanted_priority", "retry_of", "api_key", "metadata", "links"),
    )
    readonly_fields = fields
    actions = admin_steering.OF_BATCHES

    @admin.display(description="Created (UTC)")
    def made_at(self, batch: Batch) -> str:
        """Return the time to the second."""
        return f"{batch.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="State")
    def life(self, batch: Batch) -> str:
        """Return what it does, in a word."""
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
        """Show how many of its jobs have ended, however."""
        return format_html(
            '<progress max="{}" value="{}"></progress> {} of {}',
            *(batch.total, batch.done, f"{batch.done:,}", f"{batch.total:,}"),
        )

    @admin.display(description="More")
    def links(self, batch: Batch) -> str:
        """Link to its jobs."""
        jobs = reverse("admin:jobs_job_changelist") + f"?batch__id__exact={batch.pk}"
        failed = f"{jobs}&status__exact={JobStatus.FAILED}"
        return format_html(
            '<a href="{}">Jobs</a> <a href="{}">Failed</a>', jobs, failed
        )
