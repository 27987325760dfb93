"""What is settled before a socket opens: who asks, for what, and whether there is room.

A handshake is a request like any other: it goes through Django, so that keys, throttles
and problems are those of the API. The view that lets it in leaves the session here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpResponse
from rest_framework import status
from rest_framework.request import Request

from jobs.accounts.client_address import client_address
from jobs.egress.addresses import IPAddress
from jobs.errors import Forbidden, NotServedHere, UpgradeRequired
from jobs.models import ApiKey, Attempt, Job
from jobs.rest.views import key_of, tenant_of
from jobs.services import JobDraft
from transcripts.live import sessions as live_sessions
from workers.api.live.registry import get_heartbeat, get_registry
from workers.api.live.wire_format import WireFormat
from workers.ratelimit.permits import get_permits

# Where in an ASGI scope a view finds it.
SCOPE = "transcribe.live"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """A session that may begin: its row, its call and its place are there."""

    job: Job
    attempt: Attempt
    api_key: ApiKey
    address: IPAddress | None
    dialect: WireFormat
    subprotocol: str | None = None


@dataclass(slots=True)
class Handshake:
    """One that is under way."""

    opened: OpenedSession | None = None
    # A page of an origin that may come: it is never shown an answer of HTTP.
    is_page: bool = False


def check_origin(request: Request, *, tells_pages: bool = True) -> None:
    """Refuse pages of other origins; who names none is no browser.

    Pages are told why they are refused, by a socket that opens for it, unless the door
    says that they are not.
    Raises Forbidden, and UpgradeRequired or NotServedHere for what is no socket.
    """
    shake = _find(request)
    origin = request.headers.get("Origin")
    if origin is None:
        return
    if origin not in _our_origins(request):
        message = "Pages of this origin may not open a live session."
        raise Forbidden(message, code="origin_not_allowed")
    shake.is_page = tells_pages


def open_session(
    request: Request,
    *,
    draft: JobDraft,
    dialect: WireFormat,
    now: datetime,
    subprotocol: str | None = None,
) -> HttpResponse:
    """Write the job, begin its call and leave both to the socket.

    Raises what ``transcripts.live.sessions.open_session`` does, and ServiceUnavailable.
    """
    shake, registry, heartbeat = _find(request), get_registry(), get_heartbeat()
    tenant = tenant_of(request)
    registry.take_place(tenant)
    try:
        job, attempt = live_sessions.open_session(
            tenant=tenant,
            api_key=key_of(request),
            draft=draft,
            worker=heartbeat.name,
            permits=get_permits(),
            now=now,
        )
        heartbeat.add(job)
    except BaseException:
        registry.leave(tenant.pk)
        raise
    shake.opened = OpenedSession(
        job=job,
        attempt=attempt,
        api_key=key_of(request),
        address=client_address(request._request),  # noqa: SLF001  DRF offers no other way
        dialect=dialect,
        subprotocol=subprotocol,
    )
    return HttpResponse(status=status.HTTP_101_SWITCHING_PROTOCOLS)


def job_of(request: Request) -> Job:
    """Return the job of the session that was opened for a request."""
    opened = _find(request).opened
    if opened is None:
        raise LookupError("no session was opened")
    return opened.job


def _find(request: Request) -> Handshake:
    inner: Any = request._request  # noqa: SLF001
    scope: dict[str, Any] | None = getattr(inner, "scope", None)
    if scope is None:
        message = "Live sessions are served by the platform's ASGI process."
        raise NotServedHere(message, code="live_unavailable")
    shake = scope.get(SCOPE)
    if not isinstance(shake, Handshake):
        raise UpgradeRequired
    return shake


def _our_origins(request: Request) -> set[str]:
    base = urlsplit(settings.BASE_URL)
    own = f"{request.scheme}://{request.get_host()}"
    return {f"{base.scheme}://{base.netloc}", own, *settings.LIVE_ALLOWED_ORIGINS}
