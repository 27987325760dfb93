"""Events: audit log and webhook outbox."""

from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q

from jobs.models.batches import Batch
from jobs.models.ids import new_id
from jobs.models.jobs import Job
from jobs.models.tenants import Tenant
from jobs.models.transaction_ids import TransactionIdField


class Event(models.Model):
    """An event of a job, batch, tenant or region; the outbox of webhooks."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Null: only operators see it, such as changes of a region.
    tenant = models.ForeignKey(
        Tenant, models.CASCADE, null=True, blank=True, db_index=False
    )
    job = models.ForeignKey(
        Job, models.CASCADE, null=True, blank=True, related_name="events"
    )
    batch = models.ForeignKey(
        Batch, models.CASCADE, null=True, blank=True, db_index=False
    )
    type = models.CharField(max_length=40)
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    actor = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    # Null until its webhook messages are created.
    fanned_out_at = models.DateTimeField(null=True, blank=True)
    # Its webhook deliveries were written in the same transaction; what remains for the
    # fan-out is to count a batch's job.
    has_deliveries = models.BooleanField(default=False, db_default=False)
    # The order of event streams: see jobs.api.event_stream.
    xid = TransactionIdField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="event_told_to_a_tenant",
                condition=Q(fanned_out_at__isnull=False) | Q(tenant__isnull=False),
            ),
        ]
        indexes = [
            models.Index(
                "id", name="event_outbox", condition=Q(fanned_out_at__isnull=True)
            ),
            models.Index(
                "batch", name="event_of_batch", condition=Q(batch__isnull=False)
            ),
            models.Index("tenant", "xid", "id", name="event_of_tenant"),
            # The audit log; without submits, which the jobs show themselves.
            models.Index(
                "tenant",
                F("id").desc(),
                name="event_audit",
                condition=~Q(actor="") & ~Q(type="job.queued"),
            ),
            # The operators' audit log: of all tenants, and by actor.
            models.Index(
                F("id").desc(),
                name="event_done",
                condition=~Q(actor="") & ~Q(type="job.queued"),
            ),
            models.Index(
                "actor",
                F("id").desc(),
                name="event_by_actor",
                condition=~Q(actor="") & ~Q(type="job.queued"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class AuditManager(models.Manager["AuditEntry"]):
    """Excludes events without actor and submits, like the indexes' conditions."""

    def get_queryset(self) -> models.QuerySet["AuditEntry"]:
        """Return the events of the audit log."""
        return super().get_queryset().exclude(actor="").exclude(type="job.queued")


class AuditEntry(Event):
    """An event with an actor; a proxy model for the operators' list."""

    objects: ClassVar[AuditManager] = AuditManager()

    class Meta:
        proxy = True
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
