"""Is it alive, may requests come, how is all of it: plain views, no key needed.

What is public says ``ok`` or not; what operators read names regions and counts. Never
anything of a tenant, and no secret.
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

from jobs.models import Region
from transcribe_platform.api_errors.problems import read_only
from workers.liveness import graceful_shutdown
from workers.monitoring.components import Component, ComponentState, read_components

logger = logging.getLogger(__name__)

# The first is whoever asks for nothing in particular's.
TYPES = ["application/json", "text/html"]


@read_only
def live(_request: HttpRequest) -> JsonResponse:
    """Say that the process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@read_only
def ready(_request: HttpRequest) -> JsonResponse:
    """Say whether this process can take requests: 200, or 503 and what is missing.

    Redis and regions are reported and not required: jobs are accepted without either,
    and answers read. Only a server whose own region is drained sends clients elsewhere.
    """
    checks = {
        "process": "draining" if graceful_shutdown.is_draining() else "ok",
        "database": _database(),
        "redis": "ok" if _redis_answers() else "away",
    }
    regions = _open_regions() if checks["database"] == "ok" else set()
    checks["regions"] = "ok" if regions else "none"
    own = settings.SERVER_REGION
    checks["region"] = "closed" if own and regions and own not in regions else "ok"
    is_ready = all(checks[name] == "ok" for name in ("process", "database", "region"))
    body = {"status": "ok" if is_ready else "unready", "checks": checks}
    return JsonResponse(body, status=200 if is_ready else 503)


@read_only
def overview(request: HttpRequest) -> HttpResponse:
    """Say how the platform is: a page for browsers, JSON for everybody else.

    200 while it takes requests, degraded or not; 503 once it does not.
    """
    parts = [
        _process(),
        Component(name="database", state=ComponentState.AWAY, detail=_database()),
    ]
    if parts[1].detail == "ok":
        parts[1:] = [
            Component(name="database", state=ComponentState.OK, detail="answers")
        ]
        try:
            parts += read_components()
        except (DatabaseError, InterfaceError):  # it went in between
            logger.warning("database away", exc_info=True)
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
        answer = render(request, "platform/health.html", context)
    else:
        answer = JsonResponse(body)
    answer.status_code = 200 if is_up else 503
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _process() -> Component:
    is_draining = graceful_shutdown.is_draining()
    state = ComponentState.DEGRADED if is_draining else ComponentState.OK
    return Component(
        name="web", state=state, detail="stops" if is_draining else "answers"
    )


def _is_operator(request: HttpRequest) -> bool:
    return request.user.is_staff and request.user.has_perm("jobs.view_job")


class NotMigratedError(Exception):
    """The database lacks migrations that this code needs."""


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        check_migrated()
    except DatabaseError:
        logger.warning("database away", exc_info=True)
        return "away"
    except NotMigratedError:
        return "not_migrated"
    return "ok"


@cache
def check_migrated() -> None:
    """Raise NotMigratedError until migrations are applied; then never look again."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise NotMigratedError


def _open_regions() -> set[str]:
    """Return those that operators let work begin in."""
    is_open = {"is_enabled": True, "is_drained": False}
    return set(Region.objects.filter(**is_open).values_list("name", flat=True))


def _redis_answers() -> bool:
    try:
        return bool(_redis().ping())
    except redis.RedisError:
        return False


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1
    )
