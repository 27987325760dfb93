"""Validate the items of a batch, by the rules of a single job and those of batches.

One reader per batch. Fields that items have in common are validated once: most items
differ only in URL, id and metadata, and full validation costs ten times as much.
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

_PER_ITEM_FIELDS = ("audio_url", "custom_id", "metadata")
_MAX_TEMPLATES = 100  # further different items are validated in full


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRules:
    """The tenant, defaults and deadline of all items of a batch."""

    tenant: Tenant
    api_key: ApiKey | None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    now: datetime


class ItemReader:
    """Builds the row of each item, or returns its errors."""

    def __init__(self, rules: ItemRules) -> None:
        self._rules = rules
        self._input = BatchItemInput(context={"tenant": rules.tenant})
        self._read_pools = cache(regions.read_pools)  # once per batch
        self._seen: set[bytes] = set()
        self._templates: dict[str, JobRow] = {}

    def read(self, item: Any) -> tuple[JobRow | None, list[FieldError]]:
        """Return the item's row without ``line``, or its errors."""
        try:
            return self._build(item), []
        except (InvalidRequest, ValidationError) as error:
            # An error without a location is one of the whole item.
            return None, to_field_errors(error) or [_build_item_error(error)]

    def _build(self, item: Any) -> JobRow:
        if not isinstance(item, dict):
            raise InvalidRequest("This must be a JSON object.", code="field_invalid")
        merged = merge_defaults(self._rules.defaults, item)
        # ``repr`` distinguishes types: True is not 1.
        shape = repr(
            [pair for pair in merged.items() if pair[0] not in _PER_ITEM_FIELDS]
        )
        template = self._templates.get(shape)
        row = self._read_like(template, merged) if template else None
        if row is None:
            row = self._read_full(merged)
            if len(self._templates) < _MAX_TEMPLATES:
                self._templates[shape] = row
        self._check_unique_id(row.custom_id)
        return row

    def _read_like(self, row: JobRow, merged: Mapping[str, Any]) -> JobRow | None:
        """Return the template with the item's own fields; None if they are invalid."""
        try:
            own = {
                name: self._input.read_field(name, merged[name])
                for name in _PER_ITEM_FIELDS
                if merged.get(name) is not None
            }
        except (InvalidRequest, ValidationError):
            return None  # the full validation reports all errors
        if "audio_url" not in own:
            return None
        return row._replace(
            audio_url=own["audio_url"],
            custom_id=own.get("custom_id", ""),
            metadata=json.dumps(own.get("metadata", {})),
        )

    def _read_full(self, merged: Mapping[str, Any]) -> JobRow:
        rules = self._rules
        read = self._input.run_validation(merged)
        draft = build_draft(read, now=rules.now)
        options.check_combination_for_url(draft.options)
        options.check_combination(services.build_options(rules.tenant, draft.options))
        job = services.build_job(
            tenant=rules.tenant,
            api_key=rules.api_key,
            draft=draft,
            now=rules.now,
            read_pools=self._read_pools,
        )
        if rules.expires_at and not (
            job.expires_at and job.expires_at < rules.expires_at
        ):
            job.expires_at = rules.expires_at
        return JobRow.of(job)

    def _check_unique_id(self, custom_id: str) -> None:
        if not custom_id:
            return
        # Digests bound the memory, whatever the length of ids.
        digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
        if digest in self._seen:
            raise InvalidRequest(
                "An earlier item of this batch has the same custom_id.",
                code="custom_id_repeated",
                pointer="/custom_id",
            )
        self._seen.add(digest)


def merge_defaults(
    defaults: Mapping[str, Any], item: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge an item over the defaults; options and metadata are merged by name.

    A value that is null is not given, so its default remains.
    """
    merged = _merge(defaults, item)
    for name in ("options", "metadata"):
        default, value = defaults.get(name), item.get(name)
        if isinstance(default, dict) and isinstance(value, dict):
            merged[name] = _merge(default, value)
    return merged


def _merge(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **defaults,
        **{
            name: value
            for name, value in given.items()
            if value is not None or name not in defaults
        },
    }


def _build_item_error(error: InvalidRequest | ValidationError) -> FieldError:
    code = getattr(error, "code", "field_invalid")
    return FieldError(pointer="", code=code, detail=str(error))
