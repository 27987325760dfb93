"""Throttle requests by key and tenant, and invalid keys and logins by address.

``workers.ratelimit.inbound`` counts. The response headers follow
draft-ietf-httpapi-ratelimit-headers-10. A limit of 0 disables a throttle.
"""

import math
import time
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv6Address, ip_network
from typing import NoReturn

from django.conf import settings
from django.core.cache.backends.locmem import LocMemCache
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
from workers.ratelimit.inbound import (
    WINDOW_SECONDS,
    ThrottlePolicy,
    ThrottleResult,
    get_inbound_limiter,
)

_RESULT_ATTRIBUTE = "_throttle_result"
# Enough for typing errors and far too few to guess a password.
LOGINS_PER_MINUTE = 10
DOCUMENTS_PER_MINUTE = 120
# Method and path → what is counted, and how many an address may do in a minute.
_ADDRESS_LIMITS = {
    ("POST", "/admin/login/"): ("login", LOGINS_PER_MINUTE),
    **dict.fromkeys(
        (("GET", "/v1/openapi.json"), ("GET", "/docs"), ("GET", "/problems")),
        ("document", DOCUMENTS_PER_MINUTE),
    ),
}
_VALID_KEY_SECONDS = 24 * 3600


def build_cache(name: str, size: int = 10_000) -> LocMemCache:
    """Return a cache in this process that evicts the least recently used entry."""
    return LocMemCache(name, {"max_entries": size, "cull_frequency": size})


# Addresses with too many invalid keys, until when; and keys that were valid.
_suspects = build_cache("suspects")
_valid_keys = build_cache("valid_keys")


class GuardedAuthentication(ApiKeyAuthentication):
    """Reject an address that sent too many invalid keys, without a key lookup.

    Keys that were valid in this process remain accepted, because many clients may
    share an address: behind a gateway, or behind a proxy missing in TRUSTED_PROXIES.
    """

    def authenticate(self, request: Request) -> tuple[TenantPrincipal, ApiKey] | None:
        """Return the tenant and the key; raises LimitExceeded for guesses."""
        address = _find_network(request)
        digest = _compute_digest(request)
        seconds = math.ceil(_suspects.get(address, 0) - time.time())
        if seconds > 0 and digest not in _valid_keys:
            _reject_guess(seconds)
        try:
            authenticated = super().authenticate(request)
        except AuthenticationFailed:
            _count_failure(address)
            raise
        if authenticated:
            _valid_keys.set(digest, True, _VALID_KEY_SECONDS)  # noqa: FBT003
            request.META[TENANT] = authenticated[1].tenant_id
        return authenticated


class ThrottledAuthentication(GuardedAuthentication):
    """Also count the request, before the view runs."""

    def authenticate(self, request: Request) -> tuple[TenantPrincipal, ApiKey] | None:
        """Return the tenant and the key; raises LimitExceeded above a limit."""
        authenticated = super().authenticate(request)
        if authenticated:
            result = get_inbound_limiter().acquire(build_throttles(authenticated[1]))
            setattr(request._request, _RESULT_ATTRIBUTE, result)  # noqa: SLF001  for the headers
            if not result.granted:
                raise LimitExceeded(
                    "There were too many requests within a minute.",
                    code="rate_limited",
                    retry_after=result.retry_after,
                )
        return authenticated


class RateLimitHeadersMiddleware:
    """Add the limits and the remaining requests of the key to each response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Add ``RateLimit-Policy`` and ``RateLimit``."""
        response = self.get_response(request)
        result: ThrottleResult | None = getattr(request, _RESULT_ATTRIBUTE, None)
        if result and result.states:
            response.headers["RateLimit-Policy"] = ", ".join(
                f'"{each.throttle.policy}";q={each.throttle.per_minute};w={WINDOW_SECONDS}'
                for each in result.states
            )
            response.headers["RateLimit"] = ", ".join(
                f'"{each.throttle.policy}";r={each.remaining};t={each.reset_seconds}'
                for each in result.states
            )
        if result and result.states and "openai-version" in response.headers:
            _add_openais_headers(response, result)
        return response


class AddressThrottleMiddleware:
    """Limit what an address may do without a key: log in to the admin, load documents.

    The OpenAPI document is large, so a client that requests it repeatedly and does not
    read the responses would keep the process busy with writing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Reject a request above the limit before its body is read."""
        policy, per_minute = _ADDRESS_LIMITS.get(
            (request.method or "", request.path), ("", 0)
        )
        if not policy:
            return self.get_response(request)
        throttle = ThrottlePolicy(
            policy=policy, subject=_find_network(request), per_minute=per_minute
        )
        result = get_inbound_limiter().acquire([throttle])
        if result.granted:
            return self.get_response(request)
        detail = f"There were too many {policy}s from this address within a minute."
        response = problem_response(
            request, status=429, code="rate_limited", detail=detail
        )
        response.headers["Retry-After"] = str(result.retry_after)
        return response


def _add_openais_headers(response: HttpResponse, result: ThrottleResult) -> None:
    """Add the names that OpenAI's SDKs show, for the narrowest limit.

    https://developers.openai.com/api/docs/guides/rate-limits
    """
    narrowest = min(result.states, key=lambda each: each.remaining)
    response.headers["x-ratelimit-limit-requests"] = str(narrowest.throttle.per_minute)
    response.headers["x-ratelimit-remaining-requests"] = str(narrowest.remaining)
    response.headers["x-ratelimit-reset-requests"] = f"{narrowest.reset_seconds}s"


def build_throttles(key: ApiKey) -> list[ThrottlePolicy]:
    """Return the throttles of the key and its tenant.

    ``Tenant.requests_per_minute`` applies to the tenant and to each of its keys.
    """
    own = key.tenant.requests_per_minute
    key_limit = settings.REQUESTS_PER_MINUTE_PER_KEY if own is None else own
    limit = settings.REQUESTS_PER_MINUTE if own is None else own
    throttles = (
        ThrottlePolicy(policy="default", subject=key.public_id, per_minute=key_limit),
        ThrottlePolicy(policy="tenant", subject=str(key.tenant_id), per_minute=limit),
    )
    return [each for each in throttles if each.per_minute]


def _compute_digest(request: Request) -> str:
    """Return a digest of the API key or ticket."""
    text = get_authorization_header(request)
    return sha256(text or request.query_params.get(TICKET, "").encode()).hexdigest()


def _find_network(request: HttpRequest) -> str:
    """Return the client's IPv4 address or /64, which is one customer's, of IPv6."""
    address = client_address(request)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)


def _count_failure(address: str) -> None:
    """Count an invalid key; above the limit, suspect the address."""
    limit = settings.FAILED_KEYS_PER_MINUTE
    if not limit:
        return
    throttle = ThrottlePolicy(policy="failed", subject=address, per_minute=limit)
    result = get_inbound_limiter().acquire([throttle])
    if not result.granted:
        seconds = result.retry_after
        _suspects.set(address, time.time() + seconds, seconds)
        _reject_guess(seconds)


def _reject_guess(seconds: int) -> NoReturn:
    message = "There were too many invalid keys from this address."
    raise LimitExceeded(message, code="rate_limited", retry_after=seconds)
