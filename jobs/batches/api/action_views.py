"""Views of actions on a batch: pause, resume, cancel, change priority, retry."""

from collections.abc import Callable
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api.jobs.serializers import PRIORITIES
from jobs.batches import actions as batch_actions
from jobs.batches import records, retry
from jobs.batches.api import acceptance
from jobs.batches.api.serializers import BatchOutput
from jobs.batches.api.views import BatchView
from jobs.models import Batch, Priority
from jobs.rest.openapi import ACCEPTED_HEADERS, IDEMPOTENCY_PARAMETER, document
from jobs.rest.serializers import BoundedListField, StrictSerializer
from jobs.rest.views import (
    check_no_body,
    get_actor,
    get_caller,
    get_tenant,
    respond,
)
from jobs.scheduling import dispatch


class BatchPriorityInput(StrictSerializer):
    """The new priority of all queued jobs of a batch."""

    priority = serializers.ChoiceField(choices=PRIORITIES)


class BatchRetryInput(StrictSerializer):
    """The statuses of the jobs to retry; by default `failed`."""

    statuses = BoundedListField(
        child=serializers.ChoiceField(choices=retry.RETRIABLE),
        required=False,
        min_length=1,
        max_length=len(retry.RETRIABLE),
    )


class BatchPause(BatchView):
    """Pauses a batch."""

    @document("pause_batch", BatchOutput, problems=(409,))
    def post(self, request: Request, batch_id: UUID) -> Response:
        """Pause a batch. Starts no more jobs. Running jobs continue."""
        return _apply(request, batch_id, batch_actions.pause)


class BatchResume(BatchView):
    """Resumes a batch."""

    @document("resume_batch", BatchOutput, problems=(409,))
    def post(self, request: Request, batch_id: UUID) -> Response:
        """Resume a paused batch."""
        return _apply(request, batch_id, batch_actions.resume)


class BatchCancel(BatchView):
    """Cancels a batch."""

    @document("cancel_batch", BatchOutput, problems=(409,))
    def post(self, request: Request, batch_id: UUID) -> Response:
        """Cancel a batch.

        Cancels waiting jobs and abandons running calls. Finished jobs do not change.
        The jobs follow within seconds, 1,000 at a time.
        """
        return _apply(request, batch_id, batch_actions.cancel)


class BatchPriority(BatchView):
    """Changes the priority of a batch."""

    @document(
        "reprioritize_batch",
        BatchOutput,
        request=BatchPriorityInput,
        problems=(409,),
    )
    def post(self, request: Request, batch_id: UUID) -> Response:
        """Change the priority of a batch. Applies to all waiting jobs."""
        serializer = BatchPriorityInput(data=request.data)
        batch = records.get_batch(tenant=get_tenant(request), batch_id=batch_id)
        serializer.is_valid(raise_exception=True)
        updated = batch_actions.reprioritize(
            batch=batch,
            priority=Priority[serializer.validated_data["priority"].upper()],
            actor=get_actor(request),
            now=timezone.now(),
        )
        dispatch.wake()
        return Response(BatchOutput(updated).data)


class BatchRetry(BatchView):
    """Retries a batch."""

    @document(
        "retry_batch",
        {202: BatchOutput},
        request=BatchRetryInput,
        problems=(410,),
        parameters=[IDEMPOTENCY_PARAMETER, *ACCEPTED_HEADERS],
    )
    def post(self, request: Request, batch_id: UUID) -> Response:
        """Retry the failed jobs of a batch.

        Creates a new batch that names this one in `retry_of`.
        """
        caller = get_caller(request)
        serializer = BatchRetryInput(data=request.data)
        batch = records.get_batch(tenant=caller.tenant, batch_id=batch_id)
        serializer.is_valid(raise_exception=True)
        statuses = set(serializer.validated_data.get("statuses", ["failed"]))
        response, is_replay = acceptance.accept_retry(
            caller=caller,
            retry_request=retry.RetryRequest(batch=batch, statuses=statuses),
            now=timezone.now(),
        )
        return respond(response, replayed=is_replay)


def _apply(request: Request, batch_id: UUID, action: Callable[..., Batch]) -> Response:
    check_no_body(request)
    batch = action(
        batch=records.get_batch(tenant=get_tenant(request), batch_id=batch_id),
        actor=get_actor(request),
        now=timezone.now(),
    )
    dispatch.wake()
    return Response(BatchOutput(batch).data)
