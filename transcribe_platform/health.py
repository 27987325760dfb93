"""Liveness and readiness: plain views, no key needed, nothing secret in them."""

import logging
from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from transcribe_platform.problems import read_only

logger = logging.getLogger(__name__)


@read_only
def live(_request: HttpRequest) -> JsonResponse:
    """Say that the process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@read_only
def ready(_request: HttpRequest) -> JsonResponse:
    """Say whether this process can take requests: 200, or 503 and what is missing.

    Redis is reported and not required: jobs are accepted without it.
    """
    database = _database()
    checks = {"database": database, "redis": "ok" if _redis_answers() else "away"}
    is_ready = database == "ok"
    body = {"status": "ok" if is_ready else "unready", "checks": checks}
    return JsonResponse(body, status=200 if is_ready else 503)


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
