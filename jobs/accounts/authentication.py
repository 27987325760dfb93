"""API key authentication: format, digest and verification of keys.

``tp_live_<8 public id>_<40 secret><6 checksum>``, all base62: the prefix and the CRC32
let secret scanners find a leaked key, and reveal a typo without a query.
"""

import hmac
import re
import secrets
import string
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, ClassVar, NoReturn
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from jobs.accounts import access_tokens, tickets
from jobs.accounts.client_address import client_address, is_in, parse_networks
from jobs.egress.addresses import IPAddress, IPNetwork
from jobs.models import ApiKey, Tenant, prepared_statements
from jobs.telemetry import log_context

ALL_SCOPES = (
    "jobs:read",
    "jobs:write",
    "webhooks:read",
    "webhooks:write",
    "keys:admin",
    "usage:read",
)
# The query parameter of a ticket.
TICKET = "ticket"
USE_RECORDED_EVERY = timedelta(minutes=1)

_PREFIX = "tp_live_"
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PUBLIC_LENGTH = 8
_SECRET_LENGTH = 40
_CHECKSUM_LENGTH = 6
_KEY = re.compile(
    rf"{_PREFIX}(?P<public_id>[0-9A-Za-z]{{{_PUBLIC_LENGTH}}})_"
    rf"[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPrincipal:
    """The authenticated tenant, in place of a Django user."""

    tenant: Tenant
    is_authenticated: ClassVar[bool] = True
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> Any:
        """The tenant's id, by which throttles and logs identify callers."""
        return self.tenant.pk


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer <key>``; never the query string, which gets logged.

    A view may allow other schemes in ``auth_schemes``. A WebSocket view may accept
    tickets (``takes_tickets``), because browsers cannot send the header; a view that
    transcribes may accept access tokens in place of keys (``takes_access_tokens``).
    """

    def authenticate(self, request: Request) -> tuple[TenantPrincipal, ApiKey] | None:
        """Return the tenant and the key; None without credentials."""
        scheme, _, token = get_authorization_header(request).partition(b" ")
        view = (getattr(request, "parser_context", None) or {}).get("view")
        if not scheme:
            return (
                _authenticate_ticket(request)
                if getattr(view, "takes_tickets", 0)
                else None
            )
        if scheme.decode("latin-1").lower() not in getattr(
            view, "auth_schemes", ("bearer",)
        ):
            _refuse("key_malformed", "Send the key as 'Authorization: Bearer <key>'.")
        text, now = token.strip().decode("latin-1"), timezone.now()
        address = client_address(request)
        if access_tokens.is_token(text):
            key = _verify_token(text, view, now=now, address=address)
        else:
            key = verify_key(text, now=now, address=address)
        log_context.add(tenant_id=key.tenant_id)
        return TenantPrincipal(tenant=key.tenant), key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """Return the scheme, which makes DRF respond with 401 instead of 403."""
        return "Bearer"


def _authenticate_ticket(request: Request) -> tuple[TenantPrincipal, ApiKey] | None:
    """Redeem the request's ticket and return its tenant and key; None without one.

    Checks the key's current validity, scope and allowed addresses.
    """
    text = request.query_params.get(TICKET)
    if text is None:
        return None
    now = timezone.now()
    ticket = tickets.redeem_ticket(text, now=now)
    key = ticket.api_key if ticket else None
    if key is None or not _is_usable(key, client_address(request), now=now):
        message = "This ticket is invalid: a ticket opens one socket within 60 seconds."
        _refuse("ticket_invalid", message)
    request.ticket = ticket  # type: ignore[attr-defined]
    log_context.add(tenant_id=key.tenant_id)
    return TenantPrincipal(tenant=key.tenant), key


def _verify_token(
    text: str, view: Any, *, now: datetime, address: IPAddress | None
) -> ApiKey:
    """Return the key of an access token, with only the token's scopes.

    Raises AuthenticationFailed, or PermissionDenied where no tokens are accepted.
    """
    try:
        public_id = access_tokens.read_key_id(text, now=now)
    except access_tokens.InvalidToken as error:
        if error.is_expired:
            _refuse("token_expired", "This access token has expired.")
        _refuse("token_invalid", "This access token is not valid.")
    key = _find_key(public_id)
    if key is None:
        _refuse("token_invalid", "This access token is not valid.")
    _check_usable(key, now=now, address=address)
    if not getattr(view, "takes_access_tokens", False):
        message = "An access token may only transcribe. Use an API key."
        raise PermissionDenied(message, code="scope_missing")
    key.scopes = [each for each in access_tokens.SCOPES if each in key.scopes]
    return key


def _is_usable(key: ApiKey, address: IPAddress | None, *, now: datetime) -> bool:
    return bool(find_usable([(key.pk, address)], scope="jobs:write", now=now))


class HasTenant(BasePermission):
    """Require a tenant and the view's scope for the method (``required_scopes``)."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return False without a tenant; raise PermissionDenied for a scope."""
        if not isinstance(request.user, TenantPrincipal):
            return False
        required: Mapping[str, str] = getattr(view, "required_scopes", {})
        scope = required.get(get_method(request))
        if scope and scope not in request.auth.scopes:
            message = f"This key lacks the scope {scope}."
            raise PermissionDenied(message, code="scope_missing")
        return True


def get_method(request: Request) -> str:
    """Return the request's method; HEAD counts as GET."""
    return "GET" if request.method == "HEAD" else request.method or ""


def create_api_key(
    *,
    tenant: Tenant,
    name: str = "",
    scopes: tuple[str, ...] = ALL_SCOPES,
    allowed_ips: Sequence[str] = (),
    expires_at: datetime | None = None,
    now: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Save a key and return it with its text, which is not stored.

    Without limits, privilege checks and audit: those are in ``jobs.accounts.keys``.
    """
    public_id = _random(_PUBLIC_LENGTH)
    body = f"{_PREFIX}{public_id}_{_random(_SECRET_LENGTH)}"
    text = body + _checksum(body)
    key = ApiKey.objects.create(
        tenant=tenant,
        name=name,
        public_id=public_id,
        digest=_digest(text),
        scopes=list(scopes),
        allowed_ips=list(allowed_ips),
        expires_at=expires_at,
        created_at=now or timezone.now(),
    )
    return key, text


def parse_public_id(text: str) -> str | None:
    """Return the public id of a well-formed key, else None; runs no query."""
    match = _KEY.fullmatch(text)
    body, checksum = text[:-_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    return match["public_id"] if match and checksum == _checksum(body) else None


def verify_key(text: str, *, now: datetime, address: IPAddress | None) -> ApiKey:
    """Return the key of this text with its tenant; raise AuthenticationFailed.

    Unknown, revoked and disabled keys get the same error. Only a valid secret reveals
    that the key has expired, or is not allowed from this address (PermissionDenied).
    """
    public_id = parse_public_id(text)
    if public_id is None:
        _refuse("key_malformed", "This is not an API key: check that it is complete.")
    key = _find_key(public_id)
    # Compare without a key too, so that an unknown id takes as long as a known one.
    stored = bytes(key.digest) if key else _digest("")
    is_match = hmac.compare_digest(stored, _digest(text))
    if key is None or not is_match:
        _refuse_invalid()
    _check_usable(key, now=now, address=address)
    return key


def _check_usable(key: ApiKey, *, now: datetime, address: IPAddress | None) -> None:
    """Raise AuthenticationFailed or PermissionDenied; record the use of the key."""
    if key.revoked_at or not key.tenant.is_active:
        _refuse_invalid()
    if key.expires_at and key.expires_at <= now:
        _refuse("key_expired", "This API key has expired.")
    _check_address(key, address)
    _record_use(key, now=now)


def _refuse_invalid() -> NoReturn:
    _refuse("key_invalid", "This API key is not valid.")


def _find_key(public_id: str) -> ApiKey | None:
    """Return the key with its tenant: a prepared query, the first of each request."""
    for row in prepared_statements.fetch(_build_find_key(), [public_id]):
        of_key = len(ApiKey._meta.concrete_fields)  # noqa: SLF001  documented API
        key = prepared_statements.load(ApiKey, row[:of_key])
        key.tenant = prepared_statements.load(Tenant, row[of_key:])
        return key
    return None


@cache
def _build_find_key() -> str:
    columns = prepared_statements.list_columns
    return (
        f"SELECT {columns(ApiKey)}, {columns(Tenant)} FROM jobs_apikey"  # noqa: S608
        " JOIN jobs_tenant ON jobs_tenant.id = jobs_apikey.tenant_id"
        " WHERE jobs_apikey.public_id = $1"
    )


def find_usable(
    uses: Collection[tuple[UUID, IPAddress | None]], *, scope: str, now: datetime
) -> set[tuple[UUID, IPAddress | None]]:
    """Return the pairs of key id and address that are still authorized.

    For connections that outlive a request.
    """
    rows = ApiKey.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now),
        pk__in={key_id for key_id, _address in uses},
        revoked_at=None,
        tenant__is_active=True,
        scopes__contains=scope,
    )
    allowed = {
        key_id: parse_networks(tuple(allowed_ips))
        for key_id, allowed_ips in rows.values_list("pk", "allowed_ips")
    }
    return {
        (key_id, address)
        for key_id, address in uses
        if key_id in allowed and _is_address_allowed(address, allowed[key_id])
    }


def _is_address_allowed(
    address: IPAddress | None, allowed: Collection[IPNetwork]
) -> bool:
    return not allowed or (address is not None and is_in(address, allowed))


def _check_address(key: ApiKey, address: IPAddress | None) -> None:
    """Raise PermissionDenied if the key is not allowed from this address."""
    allowed = parse_networks(tuple(key.allowed_ips))
    if not _is_address_allowed(address, allowed):
        message = "This API key is not allowed from this IP address."
        raise PermissionDenied(message, code="address_not_allowed")


def _record_use(key: ApiKey, *, now: datetime) -> None:
    """Update ``last_used_at``, at most once per minute."""
    before = now - USE_RECORDED_EVERY
    if key.last_used_at is None or key.last_used_at <= before:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=before)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def _refuse(code: str, message: str) -> NoReturn:
    raise AuthenticationFailed(message, code=code)


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, len(_BASE62))
        digits = _BASE62[digit] + digits
    return digits.rjust(_CHECKSUM_LENGTH, "0")
