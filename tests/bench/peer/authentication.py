"""Who asks."""

import hmac
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from rest_framework.authentication import (
    BaseAuthentication,
    TokenAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request


class BearerAuthentication(TokenAuthentication):
    """DRF's tokens under the usual scheme."""

    keyword = "Bearer"


class SharedTokenAuthentication(BaseAuthentication):
    """One token for all, in the settings."""

    def authenticate(self, request: Request) -> tuple[Any, None]:
        """Return a user without a row."""
        expected = f"Bearer {settings.SHARED_TOKEN}".encode()
        if not hmac.compare_digest(get_authorization_header(request), expected):
            raise AuthenticationFailed
        return SimpleNamespace(is_authenticated=True), None
