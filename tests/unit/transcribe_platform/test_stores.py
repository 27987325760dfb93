"""URLs of PostgreSQL and Redis: what they set, and which are rejected."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from kombu.utils.url import parse_url
from redis.connection import parse_url as parse_redis

from transcribe_platform.stores import parse_database_url, parse_redis_url


def test_every_libpq_parameter_of_the_url_is_used():
    parsed = parse_database_url(
        "DATABASE_URL",
        "postgresql://ada:s%40cret@one:5432,two:5433/jobs?sslmode=verify-full"
        "&sslrootcert=/ca.pem&target_session_attrs=read-write"
        "&options=-c%20work_mem%3D8MB&connect_timeout=9",
    )

    assert parsed == {
        "NAME": "jobs",
        "USER": "ada",
        "PASSWORD": "s@cret",
        "HOST": "one,two",
        "PORT": "5432,5433",
        "OPTIONS": {
            "connect_timeout": "9",
            "sslmode": "verify-full",
            "sslrootcert": "/ca.pem",
            "target_session_attrs": "read-write",
            "options": "-c work_mem=8MB",
        },
    }


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://u:secret@h/db?sslmod=verify-full", 'parameter: "sslmod"'),
        ("postgresql://u:secret@h:port/db", "the port is not a number"),
        ("postgres//u:secret@h/db", "not a valid URL"),
        ("postgresql://u:secret@[::1/db", "not a valid URL"),
        ("postgresql://u:secret@h", "names no database"),
        ("", "names no database"),
    ],
)
def test_an_invalid_database_url_is_named_without_its_password(url, reason):
    with pytest.raises(ImproperlyConfigured) as caught:
        parse_database_url("DATABASE_URL", url)

    assert str(caught.value).startswith("DATABASE_URL")
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


def test_certificates_of_rediss_are_verified_by_every_client():
    url = parse_redis_url("REDIS_URL", "rediss://:p%40ss@cache:6380/2")

    assert parse_url(url)["ssl"] == {"ssl_cert_reqs": 2, "ssl_check_hostname": True}
    assert parse_url(url)["password"] == "p@ss"
    own = parse_redis(url)
    assert (own["ssl_cert_reqs"], own["ssl_check_hostname"]) == ("required", True)
    assert (own["password"], own["db"]) == ("p@ss", 2)


def test_parameters_of_the_url_have_priority():
    url = parse_redis_url(
        "REDIS_URL", "rediss://cache/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=none"
    )

    assert parse_url(url)["ssl"] == {
        "ssl_cert_reqs": 0,
        "ssl_check_hostname": False,
        "ssl_ca_certs": "/ca.pem",
    }
    assert parse_redis_url("R", "redis://:x@cache:6379/0") == "redis://:x@cache:6379/0"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rediss://:secret@h/0?ssl_ca_cert=/ca.pem", "unknown parameter ssl_ca_cert"),
        ("redis://:secret@h/0?ssl_ca_certs=/ca.pem", "rediss:// for TLS"),
        ("rediss://:secret@h/0?ssl_cert_reqs=yes", "must be one of required"),
        ("rediss://:secret@h:port/0", "is not a URL"),
        ("rediss://:secret@h/jobs", "is not a number"),
        ("http://:secret@h/0", "is not a URL"),
        (":secret@h", "is not a URL"),
        ("", "is not a URL"),
    ],
)
def test_an_invalid_redis_url_is_named_without_its_password(url, reason):
    with pytest.raises(ImproperlyConfigured) as caught:
        parse_redis_url("REDIS_URL", url)

    assert str(caught.value).startswith("REDIS_URL")
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)
