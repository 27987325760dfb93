"""The address rule with the operator's settings: what a customer's URL may be here.

Submitting checks with it, and so does every delivery: a row may be older than the rule.
Nothing here connects or resolves; the client that does is ``workers.egress.network``.
"""

from functools import lru_cache

from django.conf import settings

from jobs.egress.addresses import EgressAllow, EgressProxy, Origin, check_url

AUDIO_SCHEMES = ("http", "https")


def check_audio_url(url: str, *, pointer: str = "") -> Origin:
    """Refuse a URL that Deepgram must not be sent to; else say where it points."""
    return check_url(url, allow=allowed(), schemes=AUDIO_SCHEMES, pointer=pointer)


def check_webhook_url(url: str, *, pointer: str = "") -> Origin:
    """Refuse a URL that we must not be sent to; else say where it points."""
    return check_url(
        url, allow=allowed(), schemes=settings.WEBHOOK_SCHEMES, pointer=pointer
    )


def allowed() -> EgressAllow:
    """Return the operator's exceptions, `EGRESS_ALLOW`."""
    return _parse(tuple(settings.EGRESS_ALLOW))


def proxy() -> EgressProxy | None:
    """Return the operator's way out for customers' URLs, `EGRESS_PROXY`."""
    return EgressProxy.parse(settings.EGRESS_PROXY)


@lru_cache(maxsize=8)
def _parse(entries: tuple[str, ...]) -> EgressAllow:
    return EgressAllow.parse(entries)
