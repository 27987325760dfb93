"""Health checks: liveness, readiness and an overview, without an API key.

The public part contains only states. Operators also see regions and counts. Responses
contain no tenant data and no secrets.
"""

import logging
from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone

from jobs.concurrency.statement_limits import limit_statements
from jobs.models import Region
from transcribe_platform.api_errors.problems import read_only
from workers.liveness import graceful_shutdown
from workers.monitoring import stores
from workers.monitoring.components import Component, ComponentState, read_components
from workers.ratelimit.permits import is_writable

logger = logging.getLogger(__name__)
# For each statement of the overview: less than clients wait.
COMPONENTS_SECONDS = 2.0

# The first is the default.
TYPES = ["application/json", "text/html"]


@read_only
def live(_request: HttpRequest) -> JsonResponse:
    """Return 200: the process responds."""
    return JsonResponse({"status": "ok"})


@read_only
def ready(_request: HttpRequest) -> JsonResponse:
    """Return 200 if this process can accept requests, else 503 with the failed checks.

    Redis, uploads and regions are reported but not required, because reads and most
    requests work without them.
    A server is not ready while its own region is closed and another one is open.
    """
    checks = {
        "process": "draining" if graceful_shutdown.is_draining() else "ok",
        "database": _check_database(),
        "redis": _check_redis(),
        "uploads": "ok" if stores.can_store_uploads() else "away",
    }
    is_known = checks["database"] == "ok"
    regions = _find_open_regions() if is_known else set()
    checks["regions"] = "ok" if regions else "none" if is_known else "unknown"
    own = settings.SERVER_REGION
    checks["region"] = "closed" if own and regions and own not in regions else "ok"
    is_ready = all(checks[name] == "ok" for name in ("process", "database", "region"))
    body = {"status": "ok" if is_ready else "unready", "checks": checks}
    return JsonResponse(body, status=200 if is_ready else 503)


@read_only
def overview(request: HttpRequest) -> HttpResponse:
    """Return the states of all components, as a page for browsers, else as JSON.

    The status is 200 while this server accepts requests, also if degraded, else 503.
    """
    parts = [
        _read_process(),
        Component(name="database", state=ComponentState.AWAY, detail=_check_database()),
    ]
    if parts[1].detail == "ok":
        parts[1:] = [
            Component(name="database", state=ComponentState.OK, detail="answers")
        ]
        try:
            with limit_statements(COMPONENTS_SECONDS):
                parts += read_components()
        except (DatabaseError, InterfaceError):  # lost since the check, or locked
            logger.warning("database away", exc_info=True)
            parts[1] = Component(
                name="database", state=ComponentState.AWAY, detail="does not answer"
            )
    is_up = parts[0].state == parts[1].state == ComponentState.OK
    status = (
        "ok" if all(part.state == ComponentState.OK for part in parts) else "degraded"
    )
    body = {
        "status": status if is_up else "down",
        "at": timezone.now().isoformat(timespec="seconds"),
        "parts": {part.name: part.state for part in parts},
    }
    is_operator = is_up and _is_operator(request)
    if is_operator:
        body["details"] = {part.name: part.detail for part in parts}
    if request.get_preferred_type(TYPES) == "text/html":
        context = {"health": body, "parts": parts, "is_operator": is_operator}
        response = render(request, "platform/health.html", context)
    else:
        response = JsonResponse(body)
    response.status_code = 200 if is_up else 503
    response.headers["Cache-Control"] = "no-store"
    return response


def _read_process() -> Component:
    is_draining = graceful_shutdown.is_draining()
    state = ComponentState.DEGRADED if is_draining else ComponentState.OK
    return Component(
        name="web", state=state, detail="stops" if is_draining else "answers"
    )


def _is_operator(request: HttpRequest) -> bool:
    return request.user.is_staff and request.user.has_perm("jobs.view_job")


class NotMigratedError(Exception):
    """The database lacks migrations."""


def _check_database() -> str:
    try:
        if not stores.is_database_writable():
            return "read_only"
        check_migrated()
    except DatabaseError:
        logger.warning("database away", exc_info=True)
        return "away"
    except NotMigratedError:
        return "not_migrated"
    return "ok"


@cache
def check_migrated() -> None:
    """Raise NotMigratedError until all migrations are applied; cache the success."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise NotMigratedError


def _find_open_regions() -> set[str]:
    is_open = {"is_enabled": True, "is_drained": False}
    return set(Region.objects.filter(**is_open).values_list("name", flat=True))


def _check_redis() -> str:
    try:
        return "ok" if is_writable(_get_redis()) else "full"
    except redis.RedisError:
        return "away"


@cache
def _get_redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1
    )
