"""The URL rules of ``jobs.egress.addresses`` with the operator's settings.

Checked at submit and again at each delivery, as the settings may have changed. The
client that resolves and connects is ``workers.egress.network``.
"""

from functools import lru_cache

from django.conf import settings

from jobs.egress.addresses import EgressAllow, EgressProxy, Origin, check_url

AUDIO_SCHEMES = ("http", "https")


def check_audio_url(url: str, *, pointer: str = "") -> Origin:
    """Return the origin of an audio URL; raise InvalidRequest if it is not allowed."""
    return check_url(url, allow=get_allowlist(), schemes=AUDIO_SCHEMES, pointer=pointer)


def check_webhook_url(url: str, *, pointer: str = "") -> Origin:
    """Return the origin of a webhook URL; raise InvalidRequest if not allowed."""
    return check_url(
        url, allow=get_allowlist(), schemes=settings.WEBHOOK_SCHEMES, pointer=pointer
    )


def get_allowlist() -> EgressAllow:
    """Return the operator's exceptions (``EGRESS_ALLOW``)."""
    return _parse(tuple(settings.EGRESS_ALLOW))


def get_proxy() -> EgressProxy | None:
    """Return the operator's proxy for customers' URLs (``EGRESS_PROXY``)."""
    return EgressProxy.parse(settings.EGRESS_PROXY)


@lru_cache(maxsize=8)
def _parse(entries: tuple[str, ...]) -> EgressAllow:
    return EgressAllow.parse(entries)
