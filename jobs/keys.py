"""The life of API keys: issued, changed, rotated, revoked; each step is audited.

Whoever acts with a key (``holder``) can never end up with more than that key may do:
not by issuing one, not by rotating or loosening a stronger one. Revoking is always
allowed, also of the last key that could issue others: a leak must be stopped first,
and the operator can issue a key again.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from jobs import audit, authentication
from jobs.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jobs.models import ApiKey, Tenant

CHANGEABLE = frozenset({"name", "allowed_ips", "expires_at"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDraft:
    """A key as somebody asked for it."""

    name: str
    scopes: tuple[str, ...] = authentication.ALL_SCOPES
    allowed_ips: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How a key hands over; without ``expires_at`` the new one lives as long again."""

    overlap: timedelta
    expires_at: datetime | None = None


def find_keys(*, tenant: Tenant) -> QuerySet[ApiKey]:
    """Return the tenant's keys, dead ones too."""
    return ApiKey.objects.filter(tenant=tenant).select_related("replaced_by")


def get_key(*, tenant: Tenant, public_id: str) -> ApiKey:
    """Return a key of this tenant, or raise NotFound."""
    key = find_keys(tenant=tenant).filter(public_id=public_id).first()
    if key is None:
        raise NotFound
    return key


def is_active(key: ApiKey, *, now: datetime) -> bool:
    """Tell whether the key still opens the door."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def issue_key(
    *,
    tenant: Tenant,
    draft: KeyDraft,
    actor: str,
    now: datetime,
    holder: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key and return it with its text, which nobody can read again.

    Raises Forbidden for a scope that the holder lacks, Conflict at the limit.
    """
    _check_scopes(draft.scopes, holder)
    with transaction.atomic():
        _lock(tenant)
        key, text = _create(tenant, draft, now=now)
        facts = asdict(draft)
        _record("created", key, actor=actor, at=now, **facts)
    return key, text


def change_key(
    *,
    key: ApiKey,
    changes: dict[str, Any],
    actor: str,
    now: datetime,
    holder: ApiKey | None = None,
) -> ApiKey:
    """Change name, addresses or expiry; what stays as it is leaves no trace.

    An expiry can be set or brought forward, never put off: for more time there is
    rotation. Raises Conflict for a dead key, Forbidden for a stronger one.
    """
    _check_scopes(key.scopes, holder)
    if unknown := set(changes) - CHANGEABLE:
        raise ValueError(unknown)
    with transaction.atomic():
        current = _lock_active(key, now=now)
        changed = audit.find_changes(current, changes)
        if "expires_at" in changed:
            _check_earlier(*changed["expires_at"])
        if changed:
            new = {name: value for name, (_, value) in changed.items()}
            ApiKey.objects.filter(pk=key.pk).update(**new)
            _record("changed", key, actor=actor, at=now, changes=changed)
    return get_key(tenant=key.tenant, public_id=key.public_id)


def rotate_key(
    *,
    key: ApiKey,
    rotation: Rotation,
    actor: str,
    now: datetime,
    holder: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key that may do the same; the old one expires after the overlap.

    A key is rotated once, unless its replacement was revoked (its text may have been
    lost on the way). Raises Conflict then, for a dead key, and at the limit.
    """
    _check_scopes(key.scopes, holder)
    with transaction.atomic():
        old = _lock_active(key, now=now)
        if old.replaced_by and old.replaced_by.revoked_at is None:
            message = f"This key was rotated: {old.replaced_by.public_id} replaces it."
            raise Conflict(message, code="key_already_rotated")
        draft = KeyDraft(
            name=old.name,
            scopes=tuple(old.scopes),
            allowed_ips=tuple(old.allowed_ips),
            expires_at=rotation.expires_at or _live_again(old, now=now),
        )
        ends = now + rotation.overlap
        old.expires_at = min(ends, old.expires_at or ends)
        old.save(update_fields=["expires_at"])
        new, text = _create(key.tenant, draft, now=now)
        ApiKey.objects.filter(pk=key.pk).update(replaced_by=new)
        facts = {"new_key": new.public_id, "expires_at": old.expires_at}
        _record("rotated", key, actor=actor, at=now, **facts)
    return new, text


def revoke_key(*, key: ApiKey, actor: str, now: datetime) -> None:
    """End the key at once and for ever; revoking it again changes nothing."""
    with transaction.atomic():
        _lock(key.tenant)  # else a rotation under way could outrun it
        alive = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
        if alive.update(revoked_at=now):
            _record("revoked", key, actor=actor, at=now)


def _create(tenant: Tenant, draft: KeyDraft, *, now: datetime) -> tuple[ApiKey, str]:
    """Write the key; the tenant is locked, so that the count is true."""
    alive = Q(expires_at=None) | Q(expires_at__gt=now)
    active = ApiKey.objects.filter(alive, tenant=tenant, revoked_at=None).count()
    if active >= settings.API_KEYS_PER_TENANT:
        message = f"There are {active} active keys already: revoke one first."
        raise Conflict(message, code="key_limit_reached")
    return authentication.create_api_key(
        tenant=tenant,
        name=draft.name,
        scopes=draft.scopes,
        allowed_ips=draft.allowed_ips,
        expires_at=draft.expires_at,
        now=now,
    )


def _lock(tenant: Tenant) -> None:
    """Let one change of the tenant's keys pass at a time; jobs are not held up."""
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)


def _lock_active(key: ApiKey, *, now: datetime) -> ApiKey:
    _lock(key.tenant)
    current = ApiKey.objects.select_related("replaced_by").get(pk=key.pk)
    if not is_active(current, now=now):
        raise Conflict("This key is revoked or expired.", code="key_not_active")
    return current


def _live_again(old: ApiKey, *, now: datetime) -> datetime | None:
    """Return when a replacement expires: after as long as the old one was given."""
    # Being rotated has cut the old one's own time; a lost replacement has it still.
    given = old.replaced_by or old
    return now + (given.expires_at - given.created_at) if given.expires_at else None


def _check_scopes(scopes: Iterable[str], holder: ApiKey | None) -> None:
    """Raise Forbidden for a scope that the holder lacks."""
    lacking = sorted(set(scopes) - set(holder.scopes)) if holder else []
    if lacking:
        message = f"This key lacks the scope {lacking[0]} itself."
        raise Forbidden(message, code="scope_missing")


def _check_earlier(old: datetime | None, new: datetime | None) -> None:
    if old and (new is None or new > old):
        message = "An expiry can only be brought forward; rotate the key for more time."
        raise InvalidRequest(message, code="field_invalid", pointer="/expires_at")


def _record(what: str, key: ApiKey, *, actor: str, at: datetime, **facts: Any) -> None:
    audit.record(
        type=f"api_key.{what}",
        actor=actor,
        at=at,
        tenant=key.tenant,
        key=key.public_id,
        **facts,
    )
