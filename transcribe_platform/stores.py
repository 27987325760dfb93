"""Connections to PostgreSQL and Redis: their URLs, and a check of TLS at start.

A process starts without its stores and waits for them. It does not start if TLS fails,
because retries do not change a certificate.
"""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from psycopg import conninfo
from redis.backoff import NoBackoff
from redis.retry import Retry

CHECK_SECONDS = 3
# libpq's parameters with their own names in Django.
_DJANGO_NAMES = {
    "dbname": "NAME",
    "user": "USER",
    "password": "PASSWORD",
    "host": "HOST",
    "port": "PORT",
}
# Those with the same meaning in redis-py and in kombu.
_REDIS_PARAMETERS = {
    *("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path"),
    *("ssl_certfile", "ssl_keyfile"),
}
_TLS_ERROR = re.compile(r"certificate|ssl", re.IGNORECASE)
# A server that stops or a network that fails, with TLS or without.
_OUTAGE = re.compile(r"SYSCALL|closed unexpectedly|timeout|timed out", re.IGNORECASE)


def parse_database_url(name: str, url: str) -> dict[str, Any]:
    """Return Django's settings of a database, with all libpq parameters of the URL.

    Raises ImproperlyConfigured with the name of the setting, never with its password.
    """
    try:
        parameters: dict[str, Any] = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ImproperlyConfigured(
            f"{name}: {_describe_invalid(url, str(error))}. Use "
            "postgresql://user:password@host:5432/database?sslmode=verify-full."
        ) from None
    if not parameters.keys() & {"dbname", "service"}:
        raise ImproperlyConfigured(f"{name} names no database: end it with /database.")
    if not re.fullmatch(r"[\d,]*", parameters.get("port", "")):
        raise ImproperlyConfigured(f"{name}: the port is not a number.")
    django = {key: parameters.pop(own, "") for own, key in _DJANGO_NAMES.items()}
    return {**django, "OPTIONS": {"connect_timeout": 5, **parameters}}


def _describe_invalid(url: str, error: str) -> str:
    """Return libpq's message, or a general one if that may quote the password."""
    is_about_parameter = "parameter" in error or "connection option" in error
    if "://" in url and is_about_parameter and "=" not in error:
        return error.strip()
    return "the value is not a valid URL"


def parse_redis_url(name: str, url: str) -> str:
    """Return the URL with the verification of certificates made explicit.

    kombu does not verify the certificate of a ``rediss://`` URL without parameters.
    Raises ImproperlyConfigured for other schemes and unknown parameters.
    """
    message = f"{name} is not a URL such as rediss://:password@host:6379/0."
    try:
        parts = urlsplit(url)
        is_url = parts.hostname and (parts.port or True)
    except ValueError:
        raise ImproperlyConfigured(message) from None
    if parts.scheme not in {"redis", "rediss"} or not is_url:
        raise ImproperlyConfigured(message)
    if not re.fullmatch(r"/?\d*", parts.path):
        raise ImproperlyConfigured(f"{name}: the database after / is not a number.")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    _check_redis_parameters(name, parts.scheme, given)
    if parts.scheme == "redis":
        return url
    verified = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true", **given}
    if verified["ssl_cert_reqs"] == "none":
        verified["ssl_check_hostname"] = "false"
    return parts._replace(query=urlencode(verified)).geturl()


def _check_redis_parameters(name: str, scheme: str, given: dict[str, str]) -> None:
    allowed = _REDIS_PARAMETERS if scheme == "rediss" else set()
    if unknown := sorted(given.keys() - allowed):
        names = ", ".join(sorted(allowed)) or "rediss:// for TLS"
        raise ImproperlyConfigured(
            f"{name}: unknown parameter {', '.join(unknown)}. Use {names}."
        )
    choices = {
        "ssl_cert_reqs": ("required", "optional", "none"),
        "ssl_check_hostname": ("true", "false"),
    }
    for parameter, values in choices.items():
        if given.get(parameter, values[0]) not in values:
            raise ImproperlyConfigured(
                f"{name}: {parameter} must be one of {', '.join(values)}."
            )


def check_tls() -> None:
    """Connect to each store once; raises ImproperlyConfigured if TLS fails.

    A store that is unavailable for another reason is not reported.
    """
    if reason := _find_database_error():
        raise ImproperlyConfigured(f"DATABASE_URL: TLS failed: {reason}")
    urls = {"REDIS_URL": settings.REDIS_URL} | {
        f"REGION_REDIS_URLS, {region}": url
        for region, url in settings.REGION_REDIS_URLS.items()
    }
    for name, url in urls.items():
        if url.startswith("rediss://") and (reason := _find_redis_error(url)):
            raise ImproperlyConfigured(f"{name}: TLS failed: {reason}")


def _find_database_error() -> str:
    parameters = connection.get_connection_params()
    for name in ("pool", "cursor_factory"):
        parameters.pop(name, None)
    parameters |= {"connect_timeout": CHECK_SECONDS}
    try:
        psycopg.connect(**parameters).close()
    except psycopg.Error as error:
        return _describe_tls(str(error))
    return ""


def _find_redis_error(url: str) -> str:
    client = redis.Redis.from_url(
        url,
        socket_timeout=CHECK_SECONDS,
        socket_connect_timeout=CHECK_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        with client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        return _describe_tls(str(error))
    return ""


def _describe_tls(error: str) -> str:
    """Return the lines about TLS; one server of several may have failed otherwise."""
    lines = [
        line.strip()
        for line in error.splitlines()
        if _TLS_ERROR.search(line) and not _OUTAGE.search(line)
    ]
    return "; ".join(lines)
