"""The hybrid router with the thresholds of the settings."""

from typing import Any

from django.conf import settings

from jobs.routing import hybrid_router
from jobs.routing.hybrid_router import (
    DurationSource,
    RequestFacts,
    Route,
    RouteMode,
    Thresholds,
)
from jobs.services import JobDraft


def choose_route(facts: RequestFacts) -> Route:
    """Return the mode for a request and the reason."""
    thresholds = Thresholds(
        sync_below=settings.SYNC_BELOW_SECONDS,
        async_above=settings.ASYNC_ABOVE_SECONDS,
    )
    return hybrid_router.choose_route(facts, thresholds)


def choose_mode(draft: JobDraft, mode: RouteMode) -> Route:
    """Return the route of a request whose endpoint has only this mode."""
    seconds = draft.duration_seconds
    source = DurationSource.NONE if seconds is None else DurationSource.UPLOAD
    return choose_route(
        RequestFacts(mode=mode, duration_seconds=seconds, source=source)
    )


def describe_stream_route() -> dict[str, Any]:
    """Return the route of a live session, to store with its job."""
    return choose_route(RequestFacts(mode=RouteMode.STREAM)).describe()
