"""The live handshake of `/v1/listen`: key, options by Deepgram's names, session."""

from datetime import datetime
from functools import partial
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from jobs import options, services
from jobs.accounts import tenants
from jobs.models import CallbackStyle
from jobs.options import UnknownOptions
from jobs.rest.views import get_tenant
from jobs.services import JobDraft
from workers.api import routing
from workers.api.listen.deepgram_wire_format import DeepgramWireFormat
from workers.api.listen.flux_wire_format import FluxWireFormat
from workers.api.listen.parsing import ListenQuery, parse_flux_query, parse_query
from workers.api.live import handshake

# ``Sec-WebSocket-Protocol: token, <key>`` or bearer: browsers set no other header.
_SCHEMES = {"token": "Token", "bearer": "Bearer"}


def read_key_from_subprotocol(request: Any) -> None:
    """Move a key from the subprotocols to the Authorization header."""
    scheme, key, *_ = [*_get_subprotocols(request), "", ""]
    scheme_name = _SCHEMES.get(scheme.lower())
    if scheme_name and "HTTP_AUTHORIZATION" not in request.META:
        request.META["HTTP_AUTHORIZATION"] = f"{scheme_name} {key}"
        vars(request).pop("headers", None)  # Django's cached copy


def open_session(
    request: Request, *, now: datetime, is_flux: bool = False
) -> HttpResponse:
    """Open a session with the options of the query; its job's ID is the request ID.

    Raises the errors of ``handshake.open_session``, and InvalidRequest.
    """
    policy = tenants.get_unknown_options(
        get_tenant(request), default=UnknownOptions.IGNORE
    )
    parse = parse_flux_query if is_flux else partial(parse_query, live=True)
    query = parse(request.query_params, policy)
    offered, *_ = [*_get_subprotocols(request._request), ""]  # noqa: SLF001  DRF offers no other way
    response = handshake.open_session(
        request,
        draft=(_build_flux_draft if is_flux else _build_draft)(request, query),
        wire_format=(
            FluxWireFormat() if is_flux else DeepgramWireFormat(created=now.isoformat())
        ),
        now=now,
        # Browsers disconnect unless the server selects an offered subprotocol.
        subprotocol=offered if offered.lower() in _SCHEMES else None,
    )
    response.headers["dg-request-id"] = str(handshake.get_job(request).pk)
    return response


def _get_subprotocols(request: Any) -> list[str]:
    """Return the offered subprotocols; [] outside ASGI."""
    return list(getattr(request, "scope", {}).get("subprotocols") or ())


def _build_draft(request: Request, query: ListenQuery) -> JobDraft:
    # Unlike `/v1/live`, Deepgram sends interim results only on request.
    chosen = {"interim_results": False, **query.options}
    effective = services.build_options(get_tenant(request), chosen)
    options.check_live_combination(options.select_live_options(effective))
    return JobDraft(
        options=chosen,
        warnings=list(query.warnings),
        callback_url=query.callback_url,
        callback_style=(
            query.callback_style if query.has_callback else CallbackStyle.WEBHOOK
        ),
        route=routing.describe_stream_route(),
    )


def _build_flux_draft(request: Request, query: ListenQuery) -> JobDraft:
    chosen = dict(query.options)
    effective = services.build_options(get_tenant(request), chosen)
    options.check_combination(options.select_flux_options(effective))
    return JobDraft(
        options=chosen,
        warnings=list(query.warnings),
        route=routing.describe_stream_route(),
    )
