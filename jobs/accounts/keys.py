"""The life of API keys: issued, changed, rotated, revoked; each step is audited.

A key that acts (``holder``) never grants more than it has in scopes, networks or
lifetime: not by issuing a key, not by rotating or loosening a stronger one
(``key_privileges``). An operator acts without a holder, and may grant everything.
Revoking is always allowed, also of the last key that could issue others: a leak must be
stopped first, and the operator can issue a key again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from jobs.accounts import audit, authentication, key_privileges
from jobs.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jobs.models import ApiKey, Tenant

CHANGEABLE = frozenset({"name", "allowed_ips", "expires_at"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDraft:
    """A key as the request asks for it."""

    name: str
    scopes: tuple[str, ...] = authentication.ALL_SCOPES
    allowed_ips: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotationRequest:
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

    Raises Forbidden for more than the holder has, Conflict at the limit.
    """
    with transaction.atomic():
        _lock(tenant)
        _check_grant(draft, holder)
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
    rotation. New addresses are within those of the holder or of the key before. Raises
    Conflict for a dead key, Forbidden for a stronger one and for more addresses.
    """
    if unknown := set(changes) - CHANGEABLE:
        raise ValueError(unknown)
    with transaction.atomic():
        current = _lock_active(key, now=now)
        if holder := _read_again(holder):
            key_privileges.check_scopes(current.scopes, holder)
        changed = audit.find_changes(current, changes)
        if "expires_at" in changed:
            _check_earlier(*changed["expires_at"])
        if holder and "allowed_ips" in changed:
            _check_not_loosened(*changed["allowed_ips"], holder)
        if changed:
            new = {name: value for name, (_, value) in changed.items()}
            ApiKey.objects.filter(pk=key.pk).update(**new)
            _record("changed", key, actor=actor, at=now, changes=changed)
    return get_key(tenant=key.tenant, public_id=key.public_id)


def rotate_key(
    *,
    key: ApiKey,
    rotation: KeyRotationRequest,
    actor: str,
    now: datetime,
    holder: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key that may do the same; the old one expires after the overlap.

    A key is rotated once, unless its replacement was revoked (its text may have been
    lost on the way). Raises Conflict then, for a dead key, and at the limit; Forbidden
    for a key that may do more than the holder.
    """
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
        _check_grant(draft, holder)
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


def _check_grant(draft: KeyDraft, holder: ApiKey | None) -> None:
    """Raise Forbidden if the new key may do more than the holder."""
    if current := _read_again(holder):
        key_privileges.check_scopes(draft.scopes, current)
        key_privileges.check_networks(draft.allowed_ips, current)
        key_privileges.check_expiry(draft.expires_at, current)


def _read_again(holder: ApiKey | None) -> ApiKey | None:
    """Return the holder as it is now: it may have been restricted a moment ago.

    Called with the tenant locked, so that no change of its keys is under way. Raises
    Forbidden where the holder was revoked.
    """
    if holder is None:
        return None
    current = ApiKey.objects.filter(pk=holder.pk, revoked_at=None).first()
    if current is None:
        raise Forbidden("This key was revoked.")
    return current


def _check_not_loosened(old: Sequence[str], new: Sequence[str], holder: ApiKey) -> None:
    """Raise Forbidden for addresses that neither the key nor the holder has."""
    if not key_privileges.is_within(new, old):
        key_privileges.check_networks(new, holder)


def _check_earlier(old: datetime | None, new: datetime | None) -> None:
    if old and (new is None or new > old):
        message = (
            "An expiry can only be brought forward. For more time rotate the key, with"
            " one that lives longer."
        )
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
