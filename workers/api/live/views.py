"""``/v1/live``: authenticate the handshake and read the session's options."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from jobs import options, services
from jobs.accounts import tenants
from jobs.accounts.authentication import TICKET
from jobs.api.jobs.serializers import build_draft
from jobs.rest.views import ApiView, get_tenant, refuse_parameter
from jobs.routing.hybrid_router import RouteMode
from jobs.services import JobDraft
from workers.api import routing
from workers.api.live import handshake
from workers.api.live.wire_format import PlatformWireFormat
from workers.api.transcribe.serializers import TranscribeInput


@extend_schema(exclude=True)
class Live(ApiView):
    """A WebSocket that takes audio and returns transcripts."""

    required_scopes = {"GET": "jobs:write"}
    auth_schemes = ("bearer", "token")
    takes_tickets = True
    takes_access_tokens = True
    # OpenAPI cannot describe it: docs/live.md does.
    is_socket = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check first that this is a WebSocket handshake from an allowed origin."""
        handshake.check_origin(request)
        super().initial(request, *args, **kwargs)

    def _check_query(self, request: Request) -> None:
        """Do nothing: ``get`` checks the parameters, which are option names."""

    def get(self, request: Request) -> HttpResponse:
        """Open a session."""
        now = timezone.now()
        return handshake.open_session(
            request,
            draft=read_draft(request, now=now),
            wire_format=PlatformWireFormat(),
            now=now,
        )


def read_draft(request: Request, *, now: datetime) -> JobDraft:
    """Return the session's draft: the ticket's, overridden by the query parameters.

    Raises InvalidRequest.
    """
    params = dict(request.query_params.lists())
    ticket_texts = params.pop(TICKET, [])
    draft = JobDraft()
    if ticket := getattr(request, "ticket", None):
        body = TranscribeInput(
            data={**ticket.draft, "mode": str(RouteMode.STREAM)},
            context={"tenant": get_tenant(request)},
        )
        body.is_valid(raise_exception=True)
        draft = build_draft(body.validated_data, now=now)
    elif ticket_texts:
        refuse_parameter(TICKET, "Send a key or a ticket, not both.")
    policy = tenants.get_unknown_options(get_tenant(request))
    ignored = options.find_ignored(params, policy, options.LIVE_OPTIONS)
    parsed = {
        name: options.read_text(name, values, live=True, policy=policy)
        for name, values in params.items()
        if name not in ignored
    }
    chosen = {**draft.options, **parsed}
    effective = services.build_options(get_tenant(request), chosen)
    options.check_live_combination(options.select_live_options(effective))
    route = draft.route or routing.describe_stream_route()
    warnings = [*draft.warnings, *options.warn_of_ignored(ignored, of="streams")]
    return replace(draft, options=chosen, route=route, warnings=warnings)
