"""Accept a batch: check its items, save it, and respond once per Idempotency-Key."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from django.db import transaction

from jobs.accounts.caller import Caller
from jobs.batches import writing
from jobs.batches.item_file import CheckResult
from jobs.batches.items import ItemRules
from jobs.errors import InvalidRequest
from jobs.models import Batch
from jobs.rest.idempotency import IdempotentRequest, StoredResponse
from jobs.scheduling import dispatch

# The scope of Idempotency-Keys, the same for lists and manifests.
ROUTE = "submit batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSubmission:
    """A requested batch; ``digest`` is that of the whole request.

    ``check`` reads and checks the items, which may be slow. It raises InvalidRequest or
    UploadTooLarge for errors of the manifest as a whole.
    """

    batch: Batch
    rules: ItemRules
    skips_invalid_items: bool
    digest: bytes
    check: Callable[[], AbstractContextManager[CheckResult]]


def accept_batch(
    *,
    caller: Caller,
    submission: BatchSubmission,
    answer: Callable[[Batch], StoredResponse],
) -> tuple[StoredResponse, bool]:
    """Accept all of a batch or nothing; return the response and whether it is repeated.

    Raises InvalidRequest (usually ValidationErrors), UploadTooLarge,
    IdempotencyConflict, LimitExceeded or ServiceUnavailable; then nothing is visible.
    """
    once = IdempotentRequest(
        tenant=caller.tenant,
        route=ROUTE,
        key=caller.key,
        digest=submission.digest,
        now=submission.rules.now,
    )
    stored = once.find()
    if stored:
        return stored, True
    with submission.check() as checked:
        _check_items(checked, skips_invalid=submission.skips_invalid_items)
        return _write(submission.batch, checked, once=once, answer=answer)


def _check_items(checked: CheckResult, *, skips_invalid: bool) -> None:
    if not skips_invalid or not checked.valid:
        checked.check_all_valid()
    if not checked.valid:
        message = "The manifest has no items."
        raise InvalidRequest(message, code="manifest_empty")


def _write(
    batch: Batch,
    checked: CheckResult,
    *,
    once: IdempotentRequest,
    answer: Callable[[Batch], StoredResponse],
) -> tuple[StoredResponse, bool]:
    is_small = writing.is_small(checked)

    def make() -> StoredResponse:
        if is_small:
            writing.write_small(batch, checked)
        else:
            writing.open_prepared(batch)
        transaction.on_commit(dispatch.wake)
        return answer(batch)

    return writing.write_once(
        batch,
        prepare=None if is_small else lambda: writing.prepare(batch, checked),
        once=once,
        make=make,
    )
