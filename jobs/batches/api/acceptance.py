"""Accept a batch or a retry of one, once per Idempotency-Key.

Large batches are prepared in hidden slices first; one short transaction opens the batch
and stores the response.
"""

from datetime import datetime

from django.db import transaction
from rest_framework import status

from jobs.accounts import audit
from jobs.accounts.caller import Caller
from jobs.batches import retry, writing
from jobs.batches.api.serializers import BatchOutput
from jobs.batches.item_file import BatchSubmission, CheckResult
from jobs.batches.retry import RetryRequest
from jobs.errors import InvalidRequest
from jobs.models import Batch
from jobs.rest.idempotency import IdempotentRequest, StoredResponse, compute_digest
from jobs.scheduling import dispatch

# The scope of Idempotency-Keys, the same for lists and manifests.
ROUTE = "submit batch"


def accept_batch(
    *, caller: Caller, submission: BatchSubmission
) -> tuple[StoredResponse, bool]:
    """Accept all of a batch or nothing; return the response and whether it is a replay.

    Raises InvalidRequest (usually ValidationErrors), UploadTooLarge,
    IdempotencyConflict, LimitExceeded or ServiceUnavailable; then nothing is visible.
    """
    request = IdempotentRequest(
        tenant=caller.tenant,
        route=ROUTE,
        key=caller.key,
        digest=submission.digest,
        now=submission.rules.now,
    )
    if stored := request.find():
        return stored, True
    batch = submission.batch
    with submission.check() as checked:
        _check_items(checked, skips_invalid=submission.skips_invalid_items)
        with writing.dropping_unopened(batch):
            is_small = writing.is_small(checked)
            if not is_small:
                writing.write_large(batch, checked)
            with request.lock() as stored:
                if stored:  # another process handled the same request first
                    return stored, True
                if is_small:
                    writing.write_small(batch, checked)
                else:
                    writing.open_prepared(batch)
                return _accept(batch, request), False


def accept_retry(
    *, caller: Caller, retry_request: RetryRequest, now: datetime
) -> tuple[StoredResponse, bool]:
    """Accept a retry; return the response and whether it is a replay.

    Raises Conflict if the batch has not ended or has no such job, and Erased.
    """
    request = IdempotentRequest(
        tenant=caller.tenant,
        route=f"retry batch {retry_request.batch.pk}",
        key=caller.key,
        digest=compute_digest(sorted(retry_request.statuses)),
        now=now,
    )
    if stored := request.find():
        return stored, True
    batch = retry.build_retry(caller=caller, request=retry_request, now=now)
    is_small = batch.total <= retry.SLICE
    with writing.dropping_unopened(batch):
        if not is_small:
            retry.write_large(batch, retry_request)
        with request.lock() as stored:
            if stored:
                return stored, True
            if is_small:
                retry.write_small(batch, retry_request)
            else:
                writing.open_prepared(batch)
            if caller.operator:
                _audit_retry(batch, actor=caller.operator)
            return _accept(batch, request), False


def _check_items(checked: CheckResult, *, skips_invalid: bool) -> None:
    if not skips_invalid or not checked.valid:
        checked.check_all_valid()
    if not checked.valid:
        message = "The manifest has no items."
        raise InvalidRequest(message, code="manifest_empty")


def _audit_retry(batch: Batch, *, actor: str) -> None:
    audit.record(
        type="batch.retried",
        actor=actor,
        at=batch.created_at,
        tenant=batch.tenant,
        batch_id=str(batch.pk),
        retry_of=str(batch.retry_of_id),
    )


def _accept(batch: Batch, request: IdempotentRequest) -> StoredResponse:
    transaction.on_commit(dispatch.wake)
    response = StoredResponse(
        status_code=status.HTTP_202_ACCEPTED,
        body=BatchOutput(batch).data,
        location=f"/v1/batches/{batch.pk}",
    )
    request.store(response)
    return response
