"""Check a handshake and open its session.

A handshake runs through Django as a GET request, so that authentication, throttling and
problem responses are those of the API. The view stores the session in the ASGI scope.
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
from jobs.rest.views import get_api_key, get_tenant
from jobs.services import JobDraft
from transcripts.live import sessions as live_sessions
from workers.api.live.registry import get_heartbeat, get_registry
from workers.api.live.wire_format import WireFormat
from workers.ratelimit.permits import get_permits

# The key of the Handshake in the ASGI scope.
SCOPE = "transcribe.live"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """A session ready to start: its job, attempt and permit exist."""

    job: Job
    attempt: Attempt
    api_key: ApiKey
    address: IPAddress | None
    wire_format: WireFormat
    subprotocol: str | None = None


@dataclass(slots=True)
class Handshake:
    """A handshake in progress."""

    opened: OpenedSession | None = None
    # From a page of an allowed origin: scripts cannot read an HTTP response to it.
    is_page: bool = False


def check_origin(request: Request, *, explains_to_pages: bool = True) -> None:
    """Reject pages of other origins; clients without an Origin are not browsers.

    With ``explains_to_pages`` a rejected page gets the error through an opened socket.
    Raises Forbidden, or UpgradeRequired or NotServedHere without a WebSocket handshake.
    """
    handshake = _find(request)
    origin = request.headers.get("Origin")
    if origin is None:
        return
    if origin not in _allowed_origins(request):
        message = "Pages of this origin may not open a live session."
        raise Forbidden(message, code="origin_not_allowed")
    handshake.is_page = explains_to_pages


def open_session(
    request: Request,
    *,
    draft: JobDraft,
    wire_format: WireFormat,
    now: datetime,
    subprotocol: str | None = None,
) -> HttpResponse:
    """Create the job and its first attempt, and store them for the socket.

    Raises the errors of ``transcripts.live.sessions.create_session_job``, and
    ServiceUnavailable.
    """
    handshake, registry, heartbeat = _find(request), get_registry(), get_heartbeat()
    tenant = get_tenant(request)
    registry.acquire_slot(tenant)
    try:
        job, attempt = live_sessions.create_session_job(
            tenant=tenant,
            api_key=get_api_key(request),
            draft=draft,
            worker=heartbeat.name,
            permits=get_permits(),
            now=now,
        )
        heartbeat.add([job])
    except BaseException:
        registry.leave(tenant.pk)
        raise
    handshake.opened = OpenedSession(
        job=job,
        attempt=attempt,
        api_key=get_api_key(request),
        address=client_address(request._request),  # noqa: SLF001  DRF offers no other way
        wire_format=wire_format,
        subprotocol=subprotocol,
    )
    return HttpResponse(status=status.HTTP_101_SWITCHING_PROTOCOLS)


def get_job(request: Request) -> Job:
    """Return the job of the session opened for a request; raises LookupError."""
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
    handshake = scope.get(SCOPE)
    if not isinstance(handshake, Handshake):
        raise UpgradeRequired
    return handshake


def _allowed_origins(request: Request) -> set[str]:
    base = urlsplit(settings.BASE_URL)
    own = f"{request.scheme}://{request.get_host()}"
    others = {*settings.CORS_ALLOWED_ORIGINS, *settings.LIVE_ALLOWED_ORIGINS}
    return {f"{base.scheme}://{base.netloc}", own, *others}
