"""Signed links that open one transcript in one format until they expire.

The signature covers job, format and expiry; nothing is stored. A link becomes invalid
when it expires, its job is erased, its tenant is deactivated or SECRET_KEY is rotated.
"""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from jobs import queries
from jobs.errors import PlatformError
from jobs.models import Job

# A link has all of these parameters.
EXPIRES, SIGNATURE = "expires", "signature"
_SALT = "transcripts.links"


class LinkInvalid(PlatformError):
    """The link is invalid: its signature does not match."""

    code = "link_invalid"


class LinkExpired(PlatformError):
    """The link has expired. Request a new one from its sender."""

    code = "link_expired"


def build_link(
    *, job: Job, format_name: str, expires_in_seconds: int, now: datetime
) -> tuple[str, datetime]:
    """Return a link to the job's transcript, and its expiry in whole seconds."""
    expires_at = (now + timedelta(seconds=expires_in_seconds)).replace(microsecond=0)
    expires = str(int(expires_at.timestamp()))
    query = {
        "format": format_name,
        EXPIRES: expires,
        SIGNATURE: _sign(job.pk, format_name, expires, settings.SECRET_KEY),
    }
    url = f"{settings.BASE_URL}/v1/transcripts/{job.pk}?{urlencode(query)}"
    return url, expires_at


def open_link(
    *, job_id: UUID, format_name: str, expires: str, signature: str, now: datetime
) -> Job:
    """Return the job of a link; raises LinkInvalid or LinkExpired.

    LinkInvalid also if the job does not exist or its tenant is inactive.
    """
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    signatures = (_sign(job_id, format_name, expires, key) for key in keys)
    if not any(constant_time_compare(signature, each) for each in signatures):
        raise LinkInvalid
    # Signed by the platform, so it is a number.
    if now >= datetime.fromtimestamp(int(expires), UTC):
        raise LinkExpired
    job = queries.find_job_of_active_tenant(job_id)
    if job is None:
        raise LinkInvalid
    return job


def _sign(job_id: UUID, format_name: str, expires: str, key: str | bytes) -> str:
    signed = f"{job_id}\n{format_name}\n{expires}"
    return salted_hmac(_SALT, signed, secret=key, algorithm="sha256").hexdigest()
