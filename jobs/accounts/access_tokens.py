"""Access tokens: signed, short-lived, and only for transcriptions.

For clients that must not hold an API key, such as web pages. A token names its key and
is not stored: each use checks the row of the key, so it is revoked with the key and
limited to its networks. ``/v1/auth/grant`` of Deepgram's API issues them:
https://developers.deepgram.com/reference/auth/tokens/grant
"""

import math
from datetime import datetime
from functools import cache

import jwt
from django.conf import settings
from django.utils.crypto import salted_hmac

from jobs.errors import Forbidden
from jobs.models import ApiKey

# The scopes of a token, if its key has them.
SCOPES = ("jobs:write",)
_ALGORITHM = "HS256"
_ISSUER = "transcription-platform"
_CLAIMS = ["exp", "iat", "iss", "sub"]


class InvalidToken(Exception):
    """The token is expired (``is_expired``), or its signature or form is not valid."""

    def __init__(self, *, is_expired: bool = False) -> None:
        super().__init__()
        self.is_expired = is_expired


def issue_token(key: ApiKey, *, seconds: int, now: datetime) -> tuple[str, int]:
    """Return a token and its lifetime in seconds, which ends with the key's.

    Raises Forbidden if the key may not transcribe.
    """
    if not set(SCOPES) <= set(key.scopes):
        message = f"This key lacks the scope {SCOPES[0]}."
        raise Forbidden(message, code="scope_missing")
    issued = math.floor(now.timestamp())
    expires = issued + seconds
    if key.expires_at:
        expires = min(expires, math.floor(key.expires_at.timestamp()))
    claims = {"iss": _ISSUER, "sub": key.public_id, "iat": issued, "exp": expires}
    return jwt.encode(claims, _secret(), algorithm=_ALGORITHM), expires - issued


def is_token(text: str) -> bool:
    """Return whether this has the form of a token: three parts of base64."""
    return text.startswith("eyJ") and text.count(".") == 2  # noqa: PLR2004


def read_key_id(text: str, *, now: datetime) -> str:
    """Return the public id of the token's key; raises InvalidToken."""
    try:
        claims = jwt.decode(
            text,
            _secret(),
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            options={"require": _CLAIMS, "verify_exp": False},
        )
    except jwt.InvalidTokenError as error:
        raise InvalidToken from error
    if claims["exp"] <= now.timestamp():
        raise InvalidToken(is_expired=True)
    return str(claims["sub"])


@cache
def _secret() -> bytes:
    return salted_hmac(__name__, "", settings.SECRET_KEY, algorithm="sha256").digest()
