"""All settings, in one file, every deployment-specific value from the environment.

``deploy/env.example`` lists them with their meaning.
"""

from pathlib import Path
from typing import Any

from psycopg import conninfo

from jobs.egress.addresses import EgressAllow, EgressProxy
from jobs.telemetry import tracing
from transcribe_platform.env import (
    checked,
    env_bool,
    env_float,
    env_int,
    env_list,
    env_networks,
    env_ports,
    env_str,
)
from transcribe_platform.logs import choose_format
from transcribe_platform.openapi.introduction import INTRODUCTION
from transcribe_platform.version import VERSION

BASE_DIR = Path(__file__).resolve().parent.parent
EMBEDDED_HINT = "`make up` starts one and sets it by itself."

DEBUG = env_bool("DEBUG", default=False)
SECRET_KEY = env_str("SECRET_KEY", hint="Any long random text; keep it.")
# Fernet keys for secrets at rest, newest first; old ones still decrypt.
FIELD_ENCRYPTION_KEYS = env_str(
    "FIELD_ENCRYPTION_KEYS",
    hint="One or more Fernet keys: cryptography.fernet.Fernet.generate_key().",
).split(",")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
# Our own load balancers, as addresses or CIDR blocks: only they are believed about whom
# they speak for. They must drop headers whose name has an underscore: over WSGI
# X_Forwarded_For is told from X-Forwarded-For by nobody.
TRUSTED_PROXIES = env_networks("TRUSTED_PROXIES")
# Where customers reach us: result links and problem types start with it.
BASE_URL = env_str("BASE_URL", "http://127.0.0.1:8000").rstrip("/")

# --- over TLS, unless the base URL says that nobody has any
HTTPS = BASE_URL.startswith("https://")
# A name that our load balancer sets or drops: "X-Forwarded-Proto"; "" trusts none.
_proxy_header = env_str("PROXY_PROTOCOL_HEADER", "")
SECURE_PROXY_SSL_HEADER = (
    (f"HTTP_{_proxy_header.upper().replace('-', '_')}", "https")
    if _proxy_header
    else None
)
SECURE_SSL_REDIRECT = HTTPS
# Probes and scrapers come from inside and speak plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^health(/|$)", r"^metrics$"]
SECURE_HSTS_SECONDS = env_int("HSTS_SECONDS", 31536000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env_bool("HSTS_SUBDOMAINS", default=True)
# Not "no-referrer": browsers then send forms, the login too, with `Origin: null`.
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "transcribe_platform.api_errors.problems.csrf_failure"
X_FRAME_OPTIONS = "DENY"
# Preloading binds a whole domain for years: its owner's to ask for, not ours.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

INSTALLED_APPS = [
    "workers.admin_site.apps.SiteConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "jobs",
    "transcripts",
    "workers",
    "workers.webhooks",
    "workers.console",
    "workers.admin_site.apps.OperatorsConfig",
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "transcribe_platform.middleware.request_id.RequestIdMiddleware",
    "transcribe_platform.middleware.throttling.RateLimitHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "transcribe_platform.middleware.static_files.ContentPolicyMiddleware",
    "transcribe_platform.middleware.static_files.StaticFilesMiddleware",
    "transcribe_platform.middleware.throttling.LoginThrottleMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "transcribe_platform.middleware.form_bodies.FormBodyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "transcribe_platform.urls"
WSGI_APPLICATION = "transcribe_platform.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "transcribe_platform" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "libraries": {"api_text": "transcribe_platform.openapi.docs_pages"},
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# PostgreSQL only: SKIP LOCKED, advisory locks and partial indexes are the engine.
_database = conninfo.conninfo_to_dict(env_str("DATABASE_URL", hint=EMBEDDED_HINT))
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.get("dbname"),
        "USER": _database.get("user"),
        "PASSWORD": _database.get("password", ""),
        "HOST": _database.get("host", ""),
        "PORT": _database.get("port", ""),
        # A pool, because a persistent connection per thread exhausts the server.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            "pool": {
                "min_size": 1,
                "max_size": env_int("DB_POOL_SIZE", 20),
                # A probe that waits longer than its caller tells nobody anything.
                "timeout": 5,
                # Else it waits twice as long each time, for up to five minutes.
                "reconnect_timeout": 10,
            },
            "connect_timeout": 5,
        },
    },
}
# The most that PostgreSQL works for one statement of a web process; 0 is no limit.
WEB_STATEMENT_SECONDS = env_float("WEB_STATEMENT_SECONDS", 10)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Broker and limits. Nothing durable lives there: losing it loses no job.
REDIS_URL = env_str("REDIS_URL", hint=EMBEDDED_HINT)
# Regions with a Redis of their own: broker of their workers, ledger of their permits.
REGION_REDIS_URLS = dict(part.split("=", 1) for part in env_list("REGION_REDIS_URLS"))

# Uploads and raw documents. On several hosts: transcribe_platform.s3.S3Storage; uploads
# on their way lie below MEDIA_ROOT all the same.
MEDIA_ROOT = Path(env_str("MEDIA_ROOT", str(BASE_DIR / "var" / "media")))
STORAGE_BACKEND = env_str(
    "STORAGE_BACKEND", "django.core.files.storage.FileSystemStorage"
)
_S3_OPTIONS = {
    "bucket_name": env_str("S3_BUCKET", ""),
    "endpoint_url": env_str("S3_ENDPOINT_URL", "") or None,
    "region_name": env_str("S3_REGION", "us-east-1"),
    # Without a key boto3 looks for one itself: a role, a profile, its own variables.
    "access_key": env_str("S3_ACCESS_KEY", "") or None,
    "secret_key": env_str("S3_SECRET_KEY", "") or None,
}
STORAGES = {
    "default": {
        "BACKEND": STORAGE_BACKEND,
        "OPTIONS": _S3_OPTIONS if STORAGE_BACKEND.endswith(".S3Storage") else {},
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage",
    },
}
# Pages take no files; the API's form parsers name their own handler.
FILE_UPLOAD_HANDLERS = ["jobs.audio.uploads.NoFileHandler"]
# Beside the media, so that keeping an upload is a rename and not a copy.
INCOMING_ROOT = MEDIA_ROOT / "incoming"
FILE_UPLOAD_PERMISSIONS = 0o640
UPLOAD_MAX_BYTES = env_int("UPLOAD_MAX_BYTES", 2 * 1024**3)  # Deepgram's own limit
JSON_MAX_BYTES = 1024**2
# Of a batch's manifest, both as it is sent and inflated.
MANIFEST_MAX_BYTES = env_int("MANIFEST_MAX_BYTES", 256 * 1024**2)
DATA_UPLOAD_MAX_MEMORY_SIZE = JSON_MAX_BYTES

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "transcribe_platform" / "static"]
# Found where they lie when a process starts, so that nothing has to be collected.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False
# Names carry no version: a page asks each time, so that all its scripts are of one.
WHITENOISE_MAX_AGE = 0
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "transcribe_platform.middleware.throttling.ThrottledAuthentication"
    ],
    "DEFAULT_PERMISSION_CLASSES": ["jobs.accounts.authentication.HasTenant"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["jobs.rest.parsers.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "transcribe_platform.openapi.hooks.OperationSchema",
    "EXCEPTION_HANDLER": "transcribe_platform.api_errors.exception_handler.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Transcription platform",
    "DESCRIPTION": INTRODUCTION,
    "SERVERS": [{"url": BASE_URL}],
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/v1",
    "COMPONENT_SPLIT_REQUEST": True,  # a file is bytes on its way in
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "jobs.state.JobStatus",
        "JobMode": "jobs.models.Mode",
        "RouteMode": ["sync", "async", "stream"],
    },
    "WEBHOOKS": [
        f"workers.webhooks.messages.published.{name}"
        for name in (
            "JOB_COMPLETED",
            "JOB_FAILED",
            "JOB_CANCELED",
            "JOB_EXPIRED",
            "BATCH_COMPLETED",
            "BATCH_PROGRESS",
            "PING",
        )
    ],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "transcribe_platform.openapi.hooks.complete_document",
        "workers.webhooks.messages.published.describe_headers",
    ],
}

# --- the engine --------------------------------------------------------------
CELERY_APP = "transcribe_platform.celery.app"
TRANSCRIPTION_BACKEND = "workers.deepgram.backend.DeepgramBackend"
DEFAULT_OPTIONS = {
    "model": env_str("DEFAULT_MODEL", "nova-3"),
    "smart_format": True,
}
DEEPGRAM_BASE_URL = env_str("DEEPGRAM_BASE_URL", "https://api.deepgram.com")
DEEPGRAM_API_KEY = env_str("DEEPGRAM_API_KEY", "")
# One upstream call, all of it: Deepgram gives up at 10 min (Whisper 20).
# Pay-as-you-go list prices in dollars a minute, by model; for estimates only.
PRICES_PER_MINUTE = dict(
    part.split("=", 1)
    for part in env_list(
        "PRICES_PER_MINUTE",
        "nova-3=0.0043,nova-2=0.0043,nova=0.0043,enhanced=0.0145,base=0.0125,"
        "whisper=0.0048",
    )
)
# A stream costs more than a file.
LIVE_PRICES_PER_MINUTE = dict(
    part.split("=", 1)
    for part in env_list(
        "LIVE_PRICES_PER_MINUTE",
        "nova-3=0.0077,nova-2=0.0058,nova=0.0058,enhanced=0.0165,base=0.0145",
    )
)
CALL_DEADLINE_SECONDS = env_float("CALL_DEADLINE_SECONDS", 1260)
LEASE_SECONDS = env_float("LEASE_SECONDS", 30)
TICK_SECONDS = env_float("TICK_SECONDS", 0.1)
# How long a worker that holds a paid result tries to commit it.
FINISH_GRACE_SECONDS = env_float("FINISH_GRACE_SECONDS", 300)
MAX_ATTEMPTS = env_int("MAX_ATTEMPTS", 5)
MAX_CRASHES = env_int("MAX_CRASHES", 3)
BACKOFF_BASE_SECONDS = env_float("BACKOFF_BASE_SECONDS", 2)
BACKOFF_CAP_SECONDS = env_float("BACKOFF_CAP_SECONDS", 300)
# Standard Webhooks 1.0.0's example schedule: delays after each failure, seconds.
WEBHOOK_SCHEDULE_SECONDS = [
    float(part)
    for part in env_list(
        "WEBHOOK_SCHEDULE_SECONDS",
        "5,300,1800,7200,18000,36000,50400,72000,86400",
    )
]
# The least wait after a receiver was too busy (429, 502, 503, 504) or timed out.
WEBHOOK_THROTTLED_SECONDS = env_float("WEBHOOK_THROTTLED_SECONDS", 60)
WEBHOOK_TIMEOUT_SECONDS = env_float("WEBHOOK_TIMEOUT_SECONDS", 15)
WEBHOOK_ENDPOINTS_MAX = env_int("WEBHOOK_ENDPOINTS_MAX", 50)  # a tenant
# How long deliveries, their bytes and each attempt at them are kept.
WEBHOOK_LOG_DAYS = env_int("WEBHOOK_LOG_DAYS", 30)
# Internal receivers customers' URLs may reach: host, host:port or CIDR.
EGRESS_ALLOW = checked("EGRESS_ALLOW", env_list("EGRESS_ALLOW"), EgressAllow.parse)
# The way out for customers' URLs not listed above: an HTTP proxy that checks addresses.
EGRESS_PROXY = checked("EGRESS_PROXY", env_str("EGRESS_PROXY", ""), EgressProxy.parse)
# Hosts listed above may be reached by http whatever this says.
WEBHOOK_SCHEMES = (
    ["https", "http"] if env_bool("WEBHOOK_ALLOW_HTTP", default=False) else ["https"]
)
# How long a web process that is told to stop says so, and serves on, before it does.
DRAIN_SECONDS = env_float("DRAIN_SECONDS", 0)
# Where this API server stands: not ready while that region is closed and another open.
SERVER_REGION = env_str("SERVER_REGION", "")
# Requests that come in; 0 is no limit. A tenant's own number stands for both.
REQUESTS_PER_MINUTE = env_int("REQUESTS_PER_MINUTE", 6000)
REQUESTS_PER_MINUTE_PER_KEY = env_int("REQUESTS_PER_MINUTE_PER_KEY", 3000)
FAILED_KEYS_PER_MINUTE = env_int("FAILED_KEYS_PER_MINUTE", 120)
API_KEYS_PER_TENANT = env_int("API_KEYS_PER_TENANT", 100)
# Threads that a web process lends to callers who wait for a job's end, and to bodies
# that are slow to arrive (WSGI); together fewer than it has.
# Requests of one tenant that a web process runs at the same time; 0 is no limit.
MAX_RUNNING_REQUESTS = env_int("MAX_RUNNING_REQUESTS", 4)
MAX_WAITING_REQUESTS = env_int("MAX_WAITING_REQUESTS", 40)
MAX_ARRIVING_BODIES = env_int("MAX_ARRIVING_BODIES", 40)
# Results of batches, sent at once by a process of either kind.
MAX_DOWNLOADS = env_int("MAX_DOWNLOADS", 8)
# Event streams: how many a process serves, how many a tenant has of them, how long one
# lives at most, and after how long without an event it says that it is still there.
EVENT_STREAMS_MAX = env_int("EVENT_STREAMS_MAX", 500)
EVENT_STREAMS_MAX_PER_TENANT = env_int("EVENT_STREAMS_MAX_PER_TENANT", 100)
EVENT_STREAM_SECONDS = env_float("EVENT_STREAM_SECONDS", 300)
EVENT_STREAM_HEARTBEAT_SECONDS = env_float("EVENT_STREAM_HEARTBEAT_SECONDS", 15)
# Live sessions: how many a process serves, how long one lasts at most, and which other
# origins' pages may open one.
LIVE_SESSIONS_MAX = env_int("LIVE_SESSIONS_MAX", 250)
LIVE_MAX_SECONDS = env_float("LIVE_MAX_SECONDS", 7200)
LIVE_ALLOWED_ORIGINS = env_list("LIVE_ALLOWED_ORIGINS")
# How long nothing may come from a client, and how long it may leave a message unread.
LIVE_IDLE_SECONDS = env_float("LIVE_IDLE_SECONDS", 10)
LIVE_SLOW_SECONDS = env_float("LIVE_SLOW_SECONDS", 10)
# How long a client may only keep its session alive, without audio; the second holds
# while callers of other tenants are refused a session.
LIVE_KEEPALIVE_SECONDS = env_float("LIVE_KEEPALIVE_SECONDS", 600)
LIVE_KEEPALIVE_CONTENDED_SECONDS = env_float("LIVE_KEEPALIVE_CONTENDED_SECONDS", 60)
# The upstream: how long it may hear and say nothing, for how long another call is tried
# for and how much audio is kept meanwhile, and how long its last words may take.
LIVE_STALL_SECONDS = env_float("LIVE_STALL_SECONDS", 12)
LIVE_RECONNECT_SECONDS = env_float("LIVE_RECONNECT_SECONDS", 120)
LIVE_BUFFER_SECONDS = env_float("LIVE_BUFFER_SECONDS", 30)
LIVE_DRAIN_SECONDS = env_float("LIVE_DRAIN_SECONDS", 10)
# The same when the process is told to stop.
LIVE_SHUTDOWN_SECONDS = env_float("LIVE_SHUTDOWN_SECONDS", 3)
# What a job of unknown duration takes from its tenant's quotas until it ends.
DEFAULT_RESERVE_SECONDS = env_int("DEFAULT_RESERVE_SECONDS", 300)
# The hybrid router: shorter audio is answered at once, longer is queued.
SYNC_BELOW_SECONDS = env_float("SYNC_BELOW_SECONDS", 60)
ASYNC_ABOVE_SECONDS = env_float("ASYNC_ABOVE_SECONDS", 300)
# How long /v1/listen, Deepgram's own door, waits for a turn and the answer.
LISTEN_WAIT_SECONDS = env_float("LISTEN_WAIT_SECONDS", 600)
# Synchronous calls a web process runs at once; more are queued.
SYNC_MAX_IN_FLIGHT = env_int("SYNC_MAX_IN_FLIGHT", 40)
# Of a region's places, the most that the queue leaves to waiting synchronous callers.
SYNC_SHARE = env_float("SYNC_SHARE", 0.2)
IDEMPOTENCY_HOURS = env_int("IDEMPOTENCY_HOURS", 24)
# Ended jobs are erased after so many days; 0 keeps them until somebody erases them.
RETENTION_DAYS = env_int("RETENTION_DAYS", 0)
# What erases all that hangs on a job: (jobs, now) -> counts for the receipt.
ERASERS = [
    "jobs.retention.erasure.erase_own",
    "transcripts.erasure.erase_transcripts",
    "workers.webhooks.delivery.retention.erase_deliveries",
]

# The same for one kind of content of jobs that stay: see jobs.retention.retention.
CONTENT_ERASERS = {
    "AUDIO": ["jobs.retention.erasure.erase_audio"],
    "TRANSCRIPT": [
        "transcripts.erasure.erase_transcripts",
        "workers.webhooks.delivery.retention.erase_deliveries",
        "jobs.retention.erasure.erase_answers",
    ],
    "PAYLOAD": ["workers.webhooks.delivery.retention.erase_deliveries"],
}

# Where each process shows its metrics: a port, a range of them where a server runs
# several workers, or 0. `/metrics` at the public door is for whoever has the token, and
# without one for this machine alone.
METRICS_PORTS = env_ports("METRICS_PORT")
METRICS_HOST = env_str("METRICS_HOST", "127.0.0.1")
METRICS_TOKEN = env_str("METRICS_TOKEN", "")
# The folder of the liveness files for `manage.py probe`; local, not shared.
PROBE_DIR = Path(env_str("PROBE_DIR", str(BASE_DIR / "var" / "probes")))
TASK_EVENTS = env_bool("TASK_EVENTS", default=False)
# Where operators find Flower, as the admin links it; "" has none.
FLOWER_URL = env_str("FLOWER_URL", "").rstrip("/")
# Traces go there, by OTLP over HTTP; "" makes none, and loads nothing for it. The
# SDK's own variables (OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS …) hold too.
OTEL_EXPORTER_OTLP_ENDPOINT = checked(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    env_str("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/"),
    tracing.check_endpoint,
)
TRACER = (
    "transcribe_platform.tracing.OpenTelemetry" if OTEL_EXPORTER_OTLP_ENDPOINT else ""
)
# Which process it is, to whoever reads logs and traces.
OTEL_SERVICE_NAME = env_str("OTEL_SERVICE_NAME", "transcription-platform")
LOG_LEVEL = env_str("LOG_LEVEL", "INFO")
_QUIETER = {"ERROR", "CRITICAL"}
# "auto": for people on a terminal, else JSON.
LOG_FORMAT = checked("LOG_FORMAT", env_str("LOG_FORMAT", "auto"), choose_format)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "transcribe_platform.logs.JsonFormatter",
            "service": OTEL_SERVICE_NAME,
        },
        "console": {
            "()": "transcribe_platform.logs.ConsoleFormatter",
            "service": OTEL_SERVICE_NAME,
        },
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": choose_format(LOG_FORMAT),
        },
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # Whoever can reach us can cause it: a 400 to them, no traceback to us.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "django.server": {"handlers": ["stderr"], "propagate": False},
        # httpx logs every URL, query string and all: those are customers' secrets.
        "httpx": {"level": "WARNING"},
        # Two lines a task of Celery's own, beside ours for each change of state.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        # It sets itself to WARNING, whatever the root says.
        "psycopg": {"level": LOG_LEVEL if LOG_LEVEL in _QUIETER else "WARNING"},
    },
}
