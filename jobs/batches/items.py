"""Read the items of one batch: the rules of a single submit, and those of a batch.

One reader a batch. It keeps its serializer: copying the fields for each item, as DRF
does, would cost several times what reading them does.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from rest_framework.exceptions import ValidationError

from jobs import options, regions, services
from jobs.batches.item_input import BatchItemInput
from jobs.errors import Fault, InvalidRequest
from jobs.faults import faults_of
from jobs.models import ApiKey, Job, Tenant
from jobs.serializers import build_draft


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRules:
    """What holds for all items: whose they are, what they say unless one does not."""

    tenant: Tenant
    api_key: ApiKey | None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    now: datetime


class ItemReader:
    """Makes a job of each item, or says what is wrong with it."""

    def __init__(self, rules: ItemRules) -> None:
        self._rules = rules
        self._input = BatchItemInput()
        self._known = cache(regions.read_pools)  # once for all of them
        self._seen: set[bytes] = set()

    def read(self, item: Any) -> tuple[Job | None, list[Fault]]:
        """Return the item's job, not yet written, or else its faults."""
        try:
            return self._build(item), []
        except (InvalidRequest, ValidationError) as error:
            # Without a place of its own it is the whole item's fault.
            return None, faults_of(error) or [_whole(error)]

    def _build(self, item: Any) -> Job:
        if not isinstance(item, dict):
            raise InvalidRequest("This must be a JSON object.", code="field_invalid")
        rules = self._rules
        read = self._input.run_validation(lay_over(rules.defaults, item))
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
        self._check_alone(job.custom_id)
        return job

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


def _whole(error: InvalidRequest | ValidationError) -> Fault:
    code = getattr(error, "code", "field_invalid")
    return Fault(pointer="", code=code, detail=str(error))
