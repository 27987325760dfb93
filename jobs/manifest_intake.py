"""Accept a manifest at the door: check all of it, write it, answer once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from jobs import batch_spool, batch_writing, dispatch, idempotency, lent_threads
from jobs.batch_items import ItemRules
from jobs.batch_spool import Checked
from jobs.errors import InvalidRequest
from jobs.idempotency import Answer
from jobs.intake import BATCH_ROUTE, Caller
from jobs.models import Batch
from jobs.uploads import IncomingFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSubmission:
    """A manifest on disk, and what was said of the whole; ``body`` to compare it by."""

    file: IncomingFile
    batch: Batch
    rules: ItemRules
    skips_bad_lines: bool
    body: dict[str, Any]


def accept_manifest(
    *,
    caller: Caller,
    submission: ManifestSubmission,
    answer: Callable[[Batch], Answer],
) -> tuple[Answer, bool]:
    """Accept a batch, all of it or nothing, and return the answer, once per key.

    Raises InvalidRequest (ManyFaults above all), UploadTooLarge, IdempotencyConflict,
    LimitExceeded or ServiceUnavailable; then nothing of it is to be seen.
    """
    digest = idempotency.digest_of([submission.body, submission.file.sha256])
    now = submission.rules.now
    once = idempotency.Once(
        tenant=caller.tenant, route=BATCH_ROUTE, key=caller.key, digest=digest, now=now
    )
    known = once.find()
    if known:
        return known, True
    with (
        lent_threads.lend_to_examination(caller.tenant.pk),
        batch_spool.check_manifest(submission.file, submission.rules) as checked,
    ):
        _check_worth_it(checked, skips=submission.skips_bad_lines)
        return _write(submission.batch, checked, once=once, answer=answer)


def _check_worth_it(checked: Checked, *, skips: bool) -> None:
    if not skips or not checked.good:
        checked.check_all_good()
    if not checked.good:
        message = "There is no line in the manifest."
        raise InvalidRequest(message, code="manifest_empty")


def _write(
    batch: Batch,
    checked: Checked,
    *,
    once: idempotency.Once,
    answer: Callable[[Batch], Answer],
) -> tuple[Answer, bool]:
    is_small = batch_writing.is_small(checked)

    def make() -> Answer:
        if is_small:
            batch_writing.write_small(batch, checked)
        else:
            batch_writing.open_prepared(batch)
        transaction.on_commit(dispatch.wake)
        return answer(batch)

    return batch_writing.write_once(
        batch,
        prepare=None if is_small else lambda: batch_writing.prepare(batch, checked),
        once=once,
        make=make,
    )
