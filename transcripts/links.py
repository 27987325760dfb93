"""Links that open one transcript, in one format, for a while, to whoever has them.

The signature covers job, format and end. There is no row: a link ends with its time,
with its job's erasure, with its tenant, or for all at once with the platform's key.
"""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from jobs import queries
from jobs.errors import PlatformError
from jobs.models import Job

# The parameters of a link; none of them is taken without the others.
EXPIRES, SIGNATURE = "expires", "signature"
PARAMETERS = ("format", EXPIRES, SIGNATURE)
_SALT = "transcripts.links"


class LinkInvalid(PlatformError):
    """This link was not made by us, or was changed since."""

    code = "link_invalid"


class LinkExpired(PlatformError):
    """This link has expired; ask whoever sent it for a new one."""

    code = "link_expired"


def build_link(
    *, job: Job, format_name: str, expires_in_seconds: int, now: datetime
) -> tuple[str, datetime]:
    """Return a link to the job's transcript, and when it ends, to the second."""
    ends_at = (now + timedelta(seconds=expires_in_seconds)).replace(microsecond=0)
    expires = str(int(ends_at.timestamp()))
    query = {
        "format": format_name,
        EXPIRES: expires,
        SIGNATURE: _sign(job.pk, format_name, expires, settings.SECRET_KEY),
    }
    url = f"{settings.BASE_URL}/v1/transcripts/{job.pk}?{urlencode(query)}"
    return url, ends_at


def open_link(
    *, job_id: UUID, format_name: str, expires: str, signature: str, now: datetime
) -> Job:
    """Return the job that a link opens; raises LinkInvalid or LinkExpired.

    A job that is gone, or of a tenant that is closed, has no valid links.
    """
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    made = (_sign(job_id, format_name, expires, key) for key in keys)
    if not any(constant_time_compare(signature, each) for each in made):
        raise LinkInvalid
    # What was signed is a number of ours.
    if now >= datetime.fromtimestamp(int(expires), UTC):
        raise LinkExpired
    job = queries.find_job_of_active_tenant(job_id)
    if job is None:
        raise LinkInvalid
    return job


def _sign(job_id: UUID, format_name: str, expires: str, key: str | bytes) -> str:
    signed = f"{job_id}\n{format_name}\n{expires}"
    return salted_hmac(_SALT, signed, secret=key, algorithm="sha256").hexdigest()
