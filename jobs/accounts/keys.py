"""Issue, change, rotate and revoke API keys; each change is audited.

The key that makes the request (``holder``) cannot grant more than it has in scopes,
networks or lifetime: not by issuing a key, nor by rotating or loosening a stronger one
(``key_privileges``). Operators act without a holder and may grant anything. Every key
can be revoked, even the last one with ``keys:admin``: stopping a leak comes first, and
an operator can issue a new key.
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
    """The checked input of a key that is not saved yet."""

    name: str
    scopes: tuple[str, ...] = authentication.ALL_SCOPES
    allowed_ips: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotationRequest:
    """How long the old key stays valid; the new key's default lifetime is the same."""

    overlap: timedelta
    expires_at: datetime | None = None


def find_keys(*, tenant: Tenant) -> QuerySet[ApiKey]:
    """Return the tenant's keys, including revoked and expired ones."""
    return ApiKey.objects.filter(tenant=tenant).select_related("replaced_by")


def get_key(*, tenant: Tenant, public_id: str) -> ApiKey:
    """Return a key of this tenant; raise NotFound if there is none."""
    key = find_keys(tenant=tenant).filter(public_id=public_id).first()
    if key is None:
        raise NotFound
    return key


def is_active(key: ApiKey, *, now: datetime) -> bool:
    """Return whether the key is neither revoked nor expired."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def issue_key(
    *,
    tenant: Tenant,
    draft: KeyDraft,
    actor: str,
    now: datetime,
    holder: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key and return it with its text, which is not stored.

    Raises Forbidden if it exceeds the holder's privileges, Conflict at the limit.
    """
    with transaction.atomic():
        _lock(tenant)
        _check_privileges(draft, holder)
        key, text = _create(tenant, draft, now=now)
        _record("created", key, actor=actor, at=now, **asdict(draft))
    return key, text


def change_key(
    *,
    key: ApiKey,
    changes: dict[str, Any],
    actor: str,
    now: datetime,
    holder: ApiKey | None = None,
) -> ApiKey:
    """Change name, networks or expiry; unchanged values are not audited.

    An expiry can be set or moved earlier, never later: rotate the key instead. New
    networks must be within the holder's or the key's current ones. Raises Conflict for
    an inactive key, Forbidden for a stronger key or wider networks.
    """
    if unknown := set(changes) - CHANGEABLE:
        raise ValueError(unknown)
    with transaction.atomic():
        current = _lock_active(key, now=now)
        if holder := _refresh_holder(holder):
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
    """Issue a key with the same privileges; the old one expires after the overlap.

    A key can be rotated once, or again if its replacement was revoked (the response
    may have been lost). Raises Conflict if it was rotated already, is inactive, or at
    the limit; Forbidden for a key with more privileges than the holder.
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
            expires_at=rotation.expires_at or _choose_expiry(old, now=now),
        )
        _check_privileges(draft, holder)
        overlap_end = now + rotation.overlap
        old.expires_at = min(overlap_end, old.expires_at or overlap_end)
        old.save(update_fields=["expires_at"])
        new, text = _create(key.tenant, draft, now=now)
        ApiKey.objects.filter(pk=key.pk).update(replaced_by=new)
        data = {"new_key": new.public_id, "expires_at": old.expires_at}
        _record("rotated", key, actor=actor, at=now, **data)
    return new, text


def revoke_key(*, key: ApiKey, actor: str, now: datetime) -> None:
    """Revoke the key at once; revoking it again changes nothing."""
    with transaction.atomic():
        _lock(key.tenant)  # else a concurrent rotation could still succeed
        rows = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
        if rows.update(revoked_at=now):
            _record("revoked", key, actor=actor, at=now)


def _create(tenant: Tenant, draft: KeyDraft, *, now: datetime) -> tuple[ApiKey, str]:
    """Save the key; the caller has locked the tenant, so the count is exact."""
    unexpired = Q(expires_at=None) | Q(expires_at__gt=now)
    active = ApiKey.objects.filter(unexpired, tenant=tenant, revoked_at=None).count()
    if active >= settings.API_KEYS_PER_TENANT:
        message = f"You have {active} active keys, which is the limit: revoke one."
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
    """Serialize changes of the tenant's keys; inserts of jobs are not blocked."""
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)


def _lock_active(key: ApiKey, *, now: datetime) -> ApiKey:
    _lock(key.tenant)
    current = ApiKey.objects.select_related("replaced_by").get(pk=key.pk)
    if not is_active(current, now=now):
        raise Conflict("This key is revoked or expired.", code="key_not_active")
    return current


def _choose_expiry(old: ApiKey, *, now: datetime) -> datetime | None:
    """Return the expiry of a replacement: its lifetime is that of the old key."""
    # A rotation shortened the old key's lifetime; a lost replacement still has it.
    key = old.replaced_by or old
    return now + (key.expires_at - key.created_at) if key.expires_at else None


def _check_privileges(draft: KeyDraft, holder: ApiKey | None) -> None:
    """Raise Forbidden if the new key has more privileges than the holder."""
    if current := _refresh_holder(holder):
        key_privileges.check_scopes(draft.scopes, current)
        key_privileges.check_networks(draft.allowed_ips, current)
        key_privileges.check_expiry(draft.expires_at, current)


def _refresh_holder(holder: ApiKey | None) -> ApiKey | None:
    """Read the holder's current row: it may have changed since authentication.

    Call it with the tenant locked. Raises Forbidden if the holder was revoked.
    """
    if holder is None:
        return None
    current = ApiKey.objects.filter(pk=holder.pk, revoked_at=None).first()
    if current is None:
        raise Forbidden("This key was revoked.")
    return current


def _check_not_loosened(old: Sequence[str], new: Sequence[str], holder: ApiKey) -> None:
    """Raise Forbidden for networks outside those of both the key and the holder."""
    if not key_privileges.is_within(new, old):
        key_privileges.check_networks(new, holder)


def _check_earlier(old: datetime | None, new: datetime | None) -> None:
    if old and (new is None or new > old):
        message = (
            "An expiry can only be moved earlier. To get more time, rotate the key"
            " and set expires_at."
        )
        raise InvalidRequest(message, code="field_invalid", pointer="/expires_at")


def _record(action: str, key: ApiKey, *, actor: str, at: datetime, **data: Any) -> None:
    audit.record(
        type=f"api_key.{action}",
        actor=actor,
        at=at,
        tenant=key.tenant,
        key=key.public_id,
        **data,
    )
