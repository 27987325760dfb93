"""Commit the results of many threads in one transaction.

Each thread submits its item and waits until it is committed. The first one becomes the
leader: it commits all items that are ready, while further ones accumulate for the next
leader. A single item is committed at once; under load the leader waits for a few
milliseconds, so that groups grow. PostgreSQL's ``commit_delay`` has the same idea:
https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-COMMIT-DELAY
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from django.db import InterfaceError, InternalError, OperationalError, connection
from django.utils import timezone

logger = logging.getLogger(__name__)

MAX_GROUP = 64
LINGER_SECONDS = 0.01
# Outages, deadlocks and time limits. Errors of the data itself are not among them.
UNAVAILABLE = (OperationalError, InterfaceError, InternalError)
# Django's OperationalError includes a row that exceeds a limit of PostgreSQL, such as
# the size of an index entry: a repetition would fail again.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_LIMIT_EXCEEDED = "54"

T = TypeVar("T")


@dataclass(slots=True)
class _PendingItem(Generic[T]):
    item: T
    submitted_at: float = field(default_factory=time.monotonic)
    is_done: bool = False
    error: BaseException | None = None


class GroupCommitter(Generic[T]):
    """Commits submitted items in groups; thread-safe.

    ``commit`` writes a group in one transaction. ``settled``, if any, is called after
    each group, whether it was committed or failed. ``grace`` returns for how many
    seconds a group is retried while the database is unavailable.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T], datetime], None],
        *,
        grace: Callable[[], float],
        settled: Callable[[Sequence[T]], None] | None = None,
    ) -> None:
        self._commit = commit
        self._grace = grace
        self._settled = settled
        self._waiting: deque[_PendingItem[T]] = deque()
        self._leading = threading.Lock()
        self._is_busy = False

    def submit(self, item: T) -> None:
        """Return when the item is committed; raise the error that prevented it."""
        entry = _PendingItem(item)
        self._waiting.append(entry)
        while not entry.is_done:
            with self._leading:
                if not entry.is_done:
                    self._lead()
        if entry.error is not None:
            raise entry.error

    def _lead(self) -> None:
        """Commit one group of waiting items."""
        if self._is_busy and len(self._waiting) < MAX_GROUP:
            time.sleep(LINGER_SECONDS)
        group = [
            self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))
        ]
        self._is_busy = len(group) > 1
        try:
            self._commit_group(group)
        finally:
            for entry in group:
                entry.is_done = True
            if self._settled:
                self._settled([entry.item for entry in group])
            if not connection.in_atomic_block:
                connection.close()  # returns it to the pool

    def _commit_group(self, group: Sequence[_PendingItem[T]]) -> None:
        """Commit a group; if its data is refused, each item alone."""
        items = [entry.item for entry in group]
        give_up_at = max(entry.submitted_at for entry in group) + self._grace()
        try:
            retry_while_unavailable(
                lambda now: self._commit(items, now), give_up_at=give_up_at
            )
        except Exception as error:  # noqa: BLE001  reaches the submitting thread
            if len(group) == 1 or _is_unavailable(error):
                self._fail(group, error)
                return
            logger.warning("group not committed, committing each item alone")
            for entry in group:
                self._commit_group([entry])
        except BaseException as error:
            self._fail(group, error)
            raise

    def _fail(self, group: Sequence[_PendingItem[T]], error: BaseException) -> None:
        for entry in group:
            entry.error = error


def _is_unavailable(error: Exception) -> bool:
    return isinstance(error, UNAVAILABLE) and not _exceeds_limit(error)


def _exceeds_limit(error: Exception) -> bool:
    code = getattr(error.__cause__, "sqlstate", None) or ""
    return bool(code.startswith(_LIMIT_EXCEEDED))


def retry_while_unavailable(
    commit: Callable[[datetime], object],
    *,
    give_up_at: float,
    errors: tuple[type[Exception], ...] = UNAVAILABLE,
) -> None:
    """Call ``commit`` with the time; repeat it while it raises one of ``errors``.

    Raises the last error once the monotonic clock passes ``give_up_at``, and at once
    inside a transaction, which the error has aborted.
    """
    wait = 0.1
    while True:
        try:
            commit(timezone.now())
        except errors as error:
            if connection.in_atomic_block or time.monotonic() + wait > give_up_at:
                raise
            if _exceeds_limit(error):
                raise
            logger.warning("commit failed, retrying", exc_info=True)
            with suppress(Exception):
                connection.close()
            time.sleep(wait)
            wait = min(5.0, wait * 2)
        else:
            return
