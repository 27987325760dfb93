"""Sign and verify messages as Standard Webhooks 1.0.0. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime

from jobs.parsing.whole_numbers import parse_whole_number

SECRET_PREFIX = "whsec_"  # noqa: S105  the public prefix, not a secret
SECRET_BYTES = 32
# The size of a secret chosen by the customer.
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
# The clock skew documented for receivers; `verify` uses the same.
TOLERANCE_SECONDS = 300


# Canonical base64 of MIN_SECRET_BYTES to MAX_SECRET_BYTES bytes.
_QUAD = "(?:[A-Za-z0-9+/]{4})"
SECRET_PATTERN = (
    rf"^{SECRET_PREFIX}(?:{_QUAD}{{8,21}}"
    rf"|{_QUAD}{{8,21}}[A-Za-z0-9+/][AQgw](?:==)?"
    rf"|{_QUAD}{{8,20}}[A-Za-z0-9+/]{{2}}[AEIMQUYcgkosw048]=?)$"
)


class InvalidSignature(Exception):
    """The signature is not valid; the message states the reason."""


def new_secret() -> str:
    """Return a random secret with its ``whsec_`` prefix."""
    encoded = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return SECRET_PREFIX + encoded


def is_valid_secret(secret: str) -> bool:
    """Return whether a customer's secret has the prefix, base64 and a valid length.

    Accepts only canonical base64, padded or not: decoders differ about other forms.
    """
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = _key(secret)
    except InvalidSignature:
        return False
    canonical = base64.b64encode(key).decode()
    return (
        secret.startswith(SECRET_PREFIX)
        and encoded in {canonical, canonical.rstrip("=")}
        and MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES
    )


def sign(
    *, message_id: str, at: datetime, body: bytes, secrets: Iterable[str]
) -> dict[str, str]:
    """Return the three headers, with one signature per secret."""
    timestamp = str(int(at.timestamp()))
    signed = _signed_content(message_id, timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(
            f"v1,{_signature(secret, signed)}" for secret in secrets
        ),
    }


def verify(
    *, headers: Mapping[str, str], body: bytes, secret: str, now: datetime
) -> None:
    """Verify a message as a receiver should; raises InvalidSignature."""
    found = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (
            found[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
    except KeyError as missing:
        raise InvalidSignature(f"the header {missing} is missing") from None
    seconds = parse_whole_number(timestamp)
    if seconds is None:
        raise InvalidSignature("webhook-timestamp is not a whole number of seconds")
    age = now.timestamp() - seconds
    if abs(age) > TOLERANCE_SECONDS:
        side = "old" if age > 0 else "far in the future"
        raise InvalidSignature(f"webhook-timestamp is {abs(age):.0f} s too {side}")
    expected = f"v1,{_signature(secret, _signed_content(message_id, timestamp, body))}"
    if not any(
        hmac.compare_digest(expected.encode(), signature.encode())
        for signature in signatures.split()
    ):
        raise InvalidSignature("no signature matches this id, timestamp, body, secret")


def _signed_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _signature(secret: str, signed: bytes) -> str:
    digest = hmac.digest(_key(secret), signed, hashlib.sha256)
    return base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        raise InvalidSignature("the secret is not `whsec_` and base64") from None
    if not key:
        raise InvalidSignature("the secret is empty")
    return key
