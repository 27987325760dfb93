"""The handshake of ``/v1/live``: who may stream, and with which options."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from jobs import options, services
from jobs.accounts.authentication import TICKET
from jobs.api.jobs.serializers import build_draft
from jobs.rest.views import ApiView, refuse_parameter, tenant_of
from jobs.routing.hybrid_router import RequestFacts, RouteMode, Thresholds, choose_route
from jobs.services import JobDraft
from workers.api.live import handshake
from workers.api.live.wire_format import PlatformWireFormat
from workers.api.transcribe.serializers import TranscribeInput


@extend_schema(exclude=True)
class Live(ApiView):
    """A socket: audio goes in, what is said comes out."""

    required_scopes = {"GET": "jobs:write"}
    auth_schemes = ("bearer", "token")
    takes_tickets = True
    # OpenAPI cannot describe it: docs/live.md does.
    is_socket = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Ask first whether it is a socket, and whose page opens it."""
        handshake.check_origin(request)
        super().initial(request, *args, **kwargs)

    def _check_query(self, request: Request) -> None:
        """Leave it to ``get``: the options' names are the parameters."""

    def get(self, request: Request) -> HttpResponse:
        """Open a session."""
        now = timezone.now()
        return handshake.open_session(
            request,
            draft=read_draft(request, now=now),
            dialect=PlatformWireFormat(),
            now=now,
        )


def read_draft(request: Request, *, now: datetime) -> JobDraft:
    """Return what is asked for: the ticket's draft under the options of the query.

    Raises InvalidRequest.
    """
    given = dict(request.query_params.lists())
    texts = given.pop(TICKET, [])
    draft = JobDraft()
    if ticket := getattr(request, "ticket", None):
        asked = TranscribeInput(data={**ticket.draft, "mode": str(RouteMode.STREAM)})
        asked.is_valid(raise_exception=True)
        draft = build_draft(asked.validated_data, now=now)
    elif texts:
        refuse_parameter(TICKET, "Send a key or a ticket, not both.")
    read = {
        name: options.read_text(name, values, live=True)
        for name, values in given.items()
    }
    chosen = {**draft.options, **read}
    effective = services.build_options(tenant_of(request), chosen)
    options.check_live_combination(options.choose_live(effective))
    return replace(draft, options=chosen, route=draft.route or _route())


def _route() -> dict[str, Any]:
    thresholds = Thresholds(
        sync_below=settings.SYNC_BELOW_SECONDS,
        async_above=settings.ASYNC_ABOVE_SECONDS,
    )
    return choose_route(RequestFacts(asked=RouteMode.STREAM), thresholds).describe()
