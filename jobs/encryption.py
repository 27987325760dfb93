"""Encryption of stored secrets with FIELD_ENCRYPTION_KEYS; the first key encrypts."""

from functools import cache

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def get_cipher() -> MultiFernet:
    """Return the cipher of the current keys."""
    return _build(tuple(settings.FIELD_ENCRYPTION_KEYS))


@cache
def _build(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
