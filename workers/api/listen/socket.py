"""The handshake of Deepgram's live door: a key, options by Deepgram's names, a job."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from jobs import options, services
from jobs.models import CallbackStyle
from jobs.rest.views import tenant_of
from jobs.routing.hybrid_router import RequestFacts, RouteMode, Thresholds, choose_route
from jobs.services import JobDraft
from workers.api.listen.deepgram_wire_format import DeepgramWireFormat
from workers.api.listen.query import ListenQuery, parse_query
from workers.api.live import handshake

# ``Sec-WebSocket-Protocol: token, <key>``, or bearer: a page has no other header.
_SCHEMES = {"token": "Token", "bearer": "Bearer"}


def adopt_key(request: Any) -> None:
    """Take a key that came among the subprotocols for one that came in its header."""
    scheme, key, *_ = [*_offered(request), "", ""]
    known = _SCHEMES.get(scheme.lower())
    if known and "HTTP_AUTHORIZATION" not in request.META:
        request.META["HTTP_AUTHORIZATION"] = f"{known} {key}"
        vars(request).pop("headers", None)  # Django's copy of them, made before


def open_session(request: Request, *, now: datetime) -> HttpResponse:
    """Open the session that the query string asks for; its job is the request's id.

    Raises what ``handshake.open_session`` does, and InvalidRequest.
    """
    query = parse_query(request.query_params, live=True)
    offered, *_ = [*_offered(request._request), ""]  # noqa: SLF001  DRF offers no other way
    response = handshake.open_session(
        request,
        draft=_build_draft(request, query),
        wire_format=DeepgramWireFormat(created=now.isoformat()),
        now=now,
        # A browser goes away unless one that it offered is taken.
        subprotocol=offered if offered.lower() in _SCHEMES else None,
    )
    response.headers["dg-request-id"] = str(handshake.get_job(request).pk)
    return response


def _offered(request: Any) -> list[str]:
    """Return the subprotocols; only a socket that ASGI serves has any."""
    return list(getattr(request, "scope", {}).get("subprotocols") or ())


def _build_draft(request: Request, query: ListenQuery) -> JobDraft:
    # Deepgram tells interim results only to those who ask; our own door to all.
    chosen = {"interim_results": False, **query.options}
    effective = services.build_options(tenant_of(request), chosen)
    options.check_live_combination(options.choose_live(effective))
    return JobDraft(
        options=chosen,
        callback_url=query.callback_url,
        callback_style=(
            query.callback_style if query.has_callback else CallbackStyle.WEBHOOK
        ),
        route=_describe_route(),
    )


def _describe_route() -> dict[str, Any]:
    thresholds = Thresholds(
        sync_below=settings.SYNC_BELOW_SECONDS,
        async_above=settings.ASYNC_ABOVE_SECONDS,
    )
    return choose_route(RequestFacts(asked=RouteMode.STREAM), thresholds).describe()
