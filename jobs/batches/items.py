"""Read the items of one batch: the rules of a single submit, and those of a batch.

One reader a batch. What items say alike is read once: most differ in their audio, id
and metadata only, and reading all of it anew costs ten times as much.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from rest_framework.exceptions import ValidationError

from jobs import options, services
from jobs.api.jobs.serializers import build_draft
from jobs.batches.item_input import BatchItemInput
from jobs.batches.job_rows import JobRow
from jobs.errors import FieldError, InvalidRequest
from jobs.models import ApiKey, Tenant
from jobs.rest.field_errors import to_field_errors
from jobs.routing import regions

_OWN = ("audio_url", "custom_id", "metadata")
_MAX_KINDS = 100  # whoever says something else in each line has each read in full


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRules:
    """What holds for all items: whose they are, what they say unless one does not."""

    tenant: Tenant
    api_key: ApiKey | None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    now: datetime


class ItemReader:
    """Makes a row of each item, or says what is wrong with it."""

    def __init__(self, rules: ItemRules) -> None:
        self._rules = rules
        self._input = BatchItemInput()
        self._known = cache(regions.read_pools)  # once for all of them
        self._seen: set[bytes] = set()
        self._kinds: dict[str, JobRow] = {}

    def read(self, item: Any) -> tuple[JobRow | None, list[FieldError]]:
        """Return the item's row, which knows no line, or else its faults."""
        try:
            return self._build(item), []
        except (InvalidRequest, ValidationError) as error:
            # Without a place of its own it is the whole item's fault.
            return None, to_field_errors(error) or [_whole(error)]

    def _build(self, item: Any) -> JobRow:
        if not isinstance(item, dict):
            raise InvalidRequest("This must be a JSON object.", code="field_invalid")
        laid = lay_over(self._rules.defaults, item)
        # Types are told apart as well: True is not 1.
        kind = repr([pair for pair in laid.items() if pair[0] not in _OWN])
        like = self._kinds.get(kind)
        row = self._like(like, laid) if like else None
        if row is None:
            row = self._read_whole(laid)
            if len(self._kinds) < _MAX_KINDS:
                self._kinds[kind] = row
        self._check_alone(row.custom_id)
        return row

    def _like(self, row: JobRow, laid: Mapping[str, Any]) -> JobRow | None:
        """Return the row with what the item has of its own; None if that is wrong."""
        try:
            own = {
                name: self._input.read_field(name, laid[name])
                for name in _OWN
                if name in laid
            }
        except (InvalidRequest, ValidationError):
            return None  # reading it whole tells all that is wrong
        if "audio_url" not in own:
            return None
        return row._replace(
            audio_url=own["audio_url"],
            custom_id=own.get("custom_id", ""),
            metadata=json.dumps(own.get("metadata", {})),
        )

    def _read_whole(self, laid: Mapping[str, Any]) -> JobRow:
        rules = self._rules
        read = self._input.run_validation(laid)
        draft = build_draft(read, now=rules.now)
        options.check_combination(services.build_options(rules.tenant, draft.options))
        job = services.build_job(
            tenant=rules.tenant,
            api_key=rules.api_key,
            draft=draft,
            now=rules.now,
            known=self._known,
        )
        if rules.expires_at and not (
            job.expires_at and job.expires_at < rules.expires_at
        ):
            job.expires_at = rules.expires_at
        return JobRow.of(job)

    def _check_alone(self, custom_id: str) -> None:
        if not custom_id:
            return
        # Digests are small and all of one size, whatever customers call their files.
        digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
        if digest in self._seen:
            raise InvalidRequest(
                "An earlier one of this batch has the same id.",
                code="custom_id_repeated",
                pointer="/custom_id",
            )
        self._seen.add(digest)


def lay_over(defaults: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item over the defaults; options and metadata name by name."""
    laid = {**defaults, **item}
    for name in ("options", "metadata"):
        under, over = defaults.get(name), item.get(name)
        if isinstance(under, dict) and isinstance(over, dict):
            laid[name] = {**under, **over}
    return laid


def _whole(error: InvalidRequest | ValidationError) -> FieldError:
    code = getattr(error, "code", "field_invalid")
    return FieldError(pointer="", code=code, detail=str(error))
