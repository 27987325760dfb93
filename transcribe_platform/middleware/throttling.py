"""Throttle what comes in: requests of a key and a tenant, guesses of an address.

Counting is ``workers.ratelimit.inbound``; here is who is counted, and what the answer
says of it (draft-ietf-httpapi-ratelimit-headers-10). A throttle of 0 is none.
"""

from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv6Address, ip_network
from typing import NoReturn

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from jobs.accounts.authentication import TICKET, ApiKeyAuthentication, TenantPrincipal
from jobs.accounts.client_address import client_address
from jobs.errors import LimitExceeded
from jobs.models import ApiKey
from transcribe_platform.api_errors.problems import problem_response
from transcribe_platform.middleware.arriving_bodies import TENANT
from transcribe_platform.middleware.recent_marks import RecentMarks
from workers.ratelimit.inbound import (
    WINDOW_SECONDS,
    ThrottlePolicy,
    ThrottleResult,
    get_inbound_limiter,
)

_ATTRIBUTE = "_throttles_taken"
_LOGIN_PATH = "/admin/login/"
# More than anybody mistypes a password, and far too few to guess one.
LOGINS_PER_MINUTE = 10
# Where bad keys came from lately, and which keys worked.
_suspects = RecentMarks()
_working = RecentMarks()
_WORKED_SECONDS = 24 * 3600


class GuardedAuthentication(ApiKeyAuthentication):
    """Look up no key for an address that sent too many bad ones.

    Keys that this process saw working are still served: an address may be shared, by
    the people behind one gateway or by all customers behind a proxy not made known.
    """

    def authenticate(self, request: Request) -> tuple[TenantPrincipal, ApiKey] | None:
        """Return the tenant and the key; raises LimitExceeded for guessing on."""
        address = _neighbourhood(request)
        digest = _digest_of(request)
        left = _suspects.seconds_left(address)
        if left and not _working.seconds_left(digest):
            _refuse_guess(left)
        try:
            found = super().authenticate(request)
        except AuthenticationFailed:
            _count_failure(address)
            raise
        if found:
            _working.add(digest, seconds=_WORKED_SECONDS)
            request.META[TENANT] = found[1].tenant_id
        return found


class ThrottledAuthentication(GuardedAuthentication):
    """Also count the request, before anything is done for it."""

    def authenticate(self, request: Request) -> tuple[TenantPrincipal, ApiKey] | None:
        """Return the tenant and the key; raises LimitExceeded when one is spent."""
        found = super().authenticate(request)
        if found:
            taken = get_inbound_limiter().take(throttles_of(found[1]))
            setattr(request._request, _ATTRIBUTE, taken)  # noqa: SLF001  for the headers
            if not taken.granted:
                raise LimitExceeded(
                    "There were too many requests within a minute.",
                    code="rate_limited",
                    retry_after=taken.retry_after,
                )
        return found


class RateLimitHeadersMiddleware:
    """Say on every answer to a key how much it has left."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and add ``RateLimit-Policy`` and ``RateLimit``."""
        response = self.get_response(request)
        taken: ThrottleResult | None = getattr(request, _ATTRIBUTE, None)
        if taken and taken.standings:
            response.headers["RateLimit-Policy"] = ", ".join(
                f'"{each.throttle.policy}";q={each.throttle.per_minute};w={WINDOW_SECONDS}'
                for each in taken.standings
            )
            response.headers["RateLimit"] = ", ".join(
                f'"{each.throttle.policy}";r={each.remaining};t={each.reset_seconds}'
                for each in taken.standings
            )
        return response


class LoginThrottleMiddleware:
    """Let an address try only so many passwords of the admin in a minute."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, or refuse a login unread."""
        if request.method != "POST" or request.path != _LOGIN_PATH:
            return self.get_response(request)
        who = _neighbourhood(request)
        throttle = ThrottlePolicy(policy="login", who=who, per_minute=LOGINS_PER_MINUTE)
        taken = get_inbound_limiter().take([throttle])
        if taken.granted:
            return self.get_response(request)
        detail = "There were too many logins from this address within a minute."
        response = problem_response(
            request, status=429, code="rate_limited", detail=detail
        )
        response.headers["Retry-After"] = str(taken.retry_after)
        return response


def throttles_of(key: ApiKey) -> list[ThrottlePolicy]:
    """Return what a request with this key counts against.

    A tenant's own number holds for each of its keys too.
    """
    own = key.tenant.requests_per_minute
    of_key = settings.REQUESTS_PER_MINUTE_PER_KEY if own is None else own
    of_tenant = settings.REQUESTS_PER_MINUTE if own is None else own
    throttles = (
        ThrottlePolicy(policy="default", who=key.public_id, per_minute=of_key),
        ThrottlePolicy(policy="tenant", who=str(key.tenant_id), per_minute=of_tenant),
    )
    return [each for each in throttles if each.per_minute]


def _digest_of(request: Request) -> bytes:
    """Return what tells one credential from another."""
    text = get_authorization_header(request)
    return sha256(text or request.query_params.get(TICKET, "").encode()).digest()


def _neighbourhood(request: HttpRequest) -> str:
    """Return the address to count by: one customer has a whole /64 of IPv6."""
    address = client_address(request)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)


def _count_failure(address: str) -> None:
    """Count a bad key; from the last one allowed on, suspect the address."""
    limit = settings.FAILED_KEYS_PER_MINUTE
    if not limit:
        return
    throttle = ThrottlePolicy(policy="failed", who=address, per_minute=limit)
    taken = get_inbound_limiter().take([throttle])
    if not taken.granted:
        _suspects.add(address, seconds=taken.retry_after)
        _refuse_guess(taken.retry_after)


def _refuse_guess(seconds: int) -> NoReturn:
    message = "Too many keys from this address were not valid."
    raise LimitExceeded(message, code="rate_limited", retry_after=seconds)
