"""Accept a batch at the door: check all its items, write what holds, answer once."""

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

# Of Idempotency-Keys: however its items come.
ROUTE = "submit batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSubmission:
    """A batch as it was asked for; ``digest`` is of all that was sent.

    ``check`` reads the items, which may take a while, and raises InvalidRequest or
    UploadTooLarge for what is wrong with the whole.
    """

    batch: Batch
    rules: ItemRules
    skips_bad_items: bool
    digest: bytes
    check: Callable[[], AbstractContextManager[CheckResult]]


def accept_batch(
    *,
    caller: Caller,
    submission: BatchSubmission,
    answer: Callable[[Batch], StoredResponse],
) -> tuple[StoredResponse, bool]:
    """Accept a batch, all of it or nothing, and return the answer, once per key.

    Raises InvalidRequest (ManyFaults above all), UploadTooLarge, IdempotencyConflict,
    LimitExceeded or ServiceUnavailable; then nothing of it is to be seen.
    """
    once = IdempotentRequest(
        tenant=caller.tenant,
        route=ROUTE,
        key=caller.key,
        digest=submission.digest,
        now=submission.rules.now,
    )
    known = once.find()
    if known:
        return known, True
    with submission.check() as checked:
        _check_worth_it(checked, skips=submission.skips_bad_items)
        return _write(submission.batch, checked, once=once, answer=answer)


def _check_worth_it(checked: CheckResult, *, skips: bool) -> None:
    if not skips or not checked.good:
        checked.check_all_good()
    if not checked.good:
        message = "There is no line in the manifest."
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
