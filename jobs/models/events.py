"""What happened: audit trail and outbox."""

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
    """Something that happened: audit trail, and outbox of what customers are told."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # None: it concerns the operator alone, as the steering of a region does.
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
    # Null only while somebody has still to be told.
    fanned_out_at = models.DateTimeField(null=True, blank=True)
    # What event streams are ordered by: see jobs.api.event_stream.
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
            # What somebody did; submits are left out, which the jobs themselves show.
            models.Index(
                "tenant",
                F("id").desc(),
                name="event_audit",
                condition=~Q(actor="") & ~Q(type="job.queued"),
            ),
            # The same of everybody, and by who it was: the operators' audit log.
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
    """Leaves out what nobody did, and the submits, in the words of the indexes."""

    def get_queryset(self) -> models.QuerySet["AuditEntry"]:
        """Return what somebody did."""
        return super().get_queryset().exclude(actor="").exclude(type="job.queued")


class AuditEntry(Event):
    """An event that is somebody's doing; a list of its own for operators."""

    objects: ClassVar[AuditManager] = AuditManager()

    class Meta:
        proxy = True
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
