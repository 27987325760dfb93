"""All settings. Values that differ by deployment come from the environment.

``deploy/env.example`` lists and explains them.
"""

from pathlib import Path
from typing import Any

from jobs.egress.addresses import EgressAllow, EgressProxy
from jobs.options import UnknownOptions
from jobs.telemetry import tracing
from transcribe_platform import database_clock
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
from transcribe_platform.stores import parse_database_url, parse_redis_url
from transcribe_platform.version import VERSION

BASE_DIR = Path(__file__).resolve().parent.parent
EMBEDDED_HINT = "`make up` starts one and sets the variable."

DEBUG = env_bool("DEBUG", default=False)
SECRET_KEY = env_str("SECRET_KEY", hint="Use a long random text and never change it.")
# Fernet keys for secrets at rest, newest first. Older keys still decrypt.
FIELD_ENCRYPTION_KEYS = env_str(
    "FIELD_ENCRYPTION_KEYS",
    hint="One or more Fernet keys: cryptography.fernet.Fernet.generate_key().",
).split(",")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
# Load balancers, as addresses or CIDR blocks, whose X-Forwarded-For is used. They must
# drop headers with an underscore in the name, because WSGI cannot distinguish
# X_Forwarded_For from X-Forwarded-For.
TRUSTED_PROXIES = env_networks("TRUSTED_PROXIES")
# The public URL. Result links and problem types start with it.
BASE_URL = env_str("BASE_URL", "http://127.0.0.1:8000").rstrip("/")

# --- TLS, if the base URL has it
HTTPS = BASE_URL.startswith("https://")
# A header that the load balancer always sets or drops, such as "X-Forwarded-Proto".
_proxy_header = env_str("PROXY_PROTOCOL_HEADER", "")
SECURE_PROXY_SSL_HEADER = (
    (f"HTTP_{_proxy_header.upper().replace('-', '_')}", "https")
    if _proxy_header
    else None
)
SECURE_SSL_REDIRECT = HTTPS
# Health checks and Prometheus connect from inside, over plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^health(/|$)", r"^metrics$"]
SECURE_HSTS_SECONDS = env_int("HSTS_SECONDS", 31536000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env_bool("HSTS_SUBDOMAINS", default=True)
# With "no-referrer" browsers send forms, also the login, with `Origin: null`.
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "transcribe_platform.api_errors.problems.csrf_failure"
X_FRAME_OPTIONS = "DENY"
# HSTS preloading binds a whole domain for years; only its owner may request it.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

# Origins whose web pages may call the API, open event streams and live sessions.
CORS_ALLOWED_ORIGINS = env_list("ALLOWED_ORIGINS")
CORS_URLS_REGEX = r"^/v[12]/"
# Besides the API's own, those that official SDKs send from browsers.
CORS_ALLOW_HEADERS = [
    *("accept", "authorization", "cache-control", "content-type", "range"),
    *("idempotency-key", "if-match", "if-none-match", "last-event-id", "prefer"),
    *("traceparent", "x-request-id", "x-client-info", "x-deepgram-session-id"),
    *(
        f"x-fern-{name}"
        for name in ("language", "runtime", "runtime-version", "platform")
    ),
    *("x-fern-sdk-name", "x-fern-sdk-version", "user-agent"),
    *(
        f"x-stainless-{name}"
        for name in ("arch", "helper-method", "lang", "os", "package-version")
    ),
    *(
        f"x-stainless-{name}"
        for name in ("retry-count", "runtime", "runtime-version", "timeout")
    ),
    *("openai-organization", "openai-project"),
]
CORS_EXPOSE_HEADERS = [
    *("dg-error", "dg-request-id", "etag", "idempotency-replayed", "ignored-options"),
    *("link", "location", "ratelimit", "ratelimit-policy", "retry-after"),
    "x-request-id",
]

INSTALLED_APPS = [
    "workers.admin_site.apps.SiteConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
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
    "transcribe_platform.middleware.compression.CompressionMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ALLOWED_ORIGINS else []),
    "transcribe_platform.middleware.throttling.RateLimitHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "transcribe_platform.middleware.static_files.ContentPolicyMiddleware",
    "transcribe_platform.middleware.static_files.StaticFilesMiddleware",
    "transcribe_platform.middleware.throttling.AddressThrottleMiddleware",
    "transcribe_platform.middleware.pages.PageSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "transcribe_platform.middleware.form_bodies.FormBodyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "transcribe_platform.middleware.pages.PageAuthenticationMiddleware",
    "transcribe_platform.middleware.pages.PageMessageMiddleware",
    "transcribe_platform.middleware.request_metrics.RequestMetricsMiddleware",
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

# PostgreSQL only: dispatching uses SKIP LOCKED, advisory locks and partial indexes.
_database = parse_database_url(
    "DATABASE_URL", env_str("DATABASE_URL", hint=EMBEDDED_HINT)
)
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **_database,
        "ENGINE": "django.db.backends.postgresql",
        # A pool is used: one persistent connection per thread exhausts the server.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            **_database["OPTIONS"],
            "pool": {
                "min_size": 1,
                "max_size": env_int("DB_POOL_SIZE", 20),
                # Shorter than the timeouts of the health checks.
                "timeout": 5,
                # Else the delay doubles up to five minutes.
                "reconnect_timeout": 10,
            },
        },
    },
}
# Here, because every process loads the settings before its models.
database_clock.follow()
# Set it if connections pass through a pooler that supports prepared statements.
DB_POOLER_PREPARES = env_bool("DB_POOLER_PREPARES", default=False)
# statement_timeout by type of process, lock_timeout of migrations; 0 means no limit.
WEB_STATEMENT_SECONDS = env_float("WEB_STATEMENT_SECONDS", 10)
DISPATCHER_STATEMENT_SECONDS = env_float("DISPATCHER_STATEMENT_SECONDS", 60)
WORKER_STATEMENT_SECONDS = env_float("WORKER_STATEMENT_SECONDS", 600)
MIGRATION_LOCK_SECONDS = env_float("MIGRATION_LOCK_SECONDS", 10)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Broker and rate limits. Redis stores nothing durable: its loss loses no job.
REDIS_URL = parse_redis_url("REDIS_URL", env_str("REDIS_URL", hint=EMBEDDED_HINT))
# Regions with their own Redis, for the broker of their workers and their permits.
REGION_REDIS_URLS = {
    region: parse_redis_url(f"REGION_REDIS_URLS, {region}", url)
    for region, _, url in (p.partition("=") for p in env_list("REGION_REDIS_URLS"))
}

# Uploads and raw documents. Several hosts need transcribe_platform.s3.S3Storage; even
# then incoming uploads are below MEDIA_ROOT.
MEDIA_ROOT = Path(env_str("MEDIA_ROOT", str(BASE_DIR / "var" / "media")))
# Paid results of this machine's processes while the object storage is unavailable.
SPOOL_ROOT = Path(env_str("SPOOL_ROOT", str(MEDIA_ROOT / "spool")))
SPOOL_MAX_BYTES = env_int("SPOOL_MAX_BYTES", 256 * 1024**2)
STORAGE_BACKEND = env_str(
    "STORAGE_BACKEND", "django.core.files.storage.FileSystemStorage"
)
_S3_OPTIONS = {
    "bucket_name": env_str("S3_BUCKET", ""),
    "endpoint_url": env_str("S3_ENDPOINT_URL", "") or None,
    "region_name": env_str("S3_REGION", "us-east-1"),
    # Without a key boto3 uses a role, a profile or its own variables.
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
# Pages accept no files; the form parsers of the API set their own handler.
FILE_UPLOAD_HANDLERS = ["jobs.audio.uploads.NoFileHandler"]
# On the same file system as the media, so that storing an upload is a rename.
INCOMING_ROOT = MEDIA_ROOT / "incoming"
FILE_UPLOAD_PERMISSIONS = 0o640
UPLOAD_MAX_BYTES = env_int("UPLOAD_MAX_BYTES", 2 * 1024**3)  # Deepgram's own limit
# Copy the audio track out of a video before it is sent to Deepgram: "always", "saving"
# (if that saves a fifth) or "never".
SEND_AUDIO_ONLY = env_str("SEND_AUDIO_ONLY", "saving")
JSON_MAX_BYTES = 1024**2
# The limit of a manifest, both compressed and decompressed.
MANIFEST_MAX_BYTES = env_int("MANIFEST_MAX_BYTES", 256 * 1024**2)
DATA_UPLOAD_MAX_MEMORY_SIZE = JSON_MAX_BYTES

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "transcribe_platform" / "static"]
# Files are found in the source folders at start, without collectstatic.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False
# File names have no version, so browsers must revalidate to get matching scripts.
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
_OPENAPI = BASE_DIR / "transcribe_platform" / "openapi"
SPECTACULAR_SETTINGS = {
    "TITLE": "Transcription platform",
    "DESCRIPTION": _OPENAPI.joinpath("introduction.md").read_text("utf-8"),
    "SERVERS": [{"url": BASE_URL}],
    "CONTACT": {"name": "Support", "url": BASE_URL},
    "LICENSE": {"name": "Proprietary", "identifier": "LicenseRef-Proprietary"},
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/v1",
    "COMPONENT_SPLIT_REQUEST": True,  # a file is bytes in requests
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "jobs.state.JobStatus",
        "JobMode": "jobs.models.Mode",
        "RouteMode": ["sync", "async", "stream"],
        "OutcomeEnum": "jobs.models.Attempt.Outcome",
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

# --- dispatching and workers --------------------------------------------------
CELERY_APP = "transcribe_platform.celery.app"
TRANSCRIPTION_BACKEND = "workers.deepgram.backend.DeepgramBackend"
DEFAULT_OPTIONS = {
    "model": env_str("DEFAULT_MODEL", "nova-3"),
    "smart_format": True,
}
# Options that the platform does not know: "refuse", "ignore" or "pass" (to Deepgram);
# "" ignores them on Deepgram's routes and refuses them elsewhere.
UNKNOWN_OPTIONS = checked(
    "UNKNOWN_OPTIONS",
    env_str("UNKNOWN_OPTIONS", ""),
    lambda text: text and UnknownOptions(text),
)
DEEPGRAM_BASE_URL = env_str("DEEPGRAM_BASE_URL", "https://api.deepgram.com")
DEEPGRAM_API_KEY = env_str("DEEPGRAM_API_KEY", "")
# Pay-as-you-go list prices in dollars per minute by model, for estimates only.
PRICES_PER_MINUTE = dict(
    part.split("=", 1)
    for part in env_list(
        "PRICES_PER_MINUTE",
        "nova-3=0.0043,nova-2=0.0043,nova=0.0043,enhanced=0.0145,base=0.0125,"
        "whisper=0.0048",
    )
)
# Streaming costs more than prerecorded audio.
LIVE_PRICES_PER_MINUTE = dict(
    part.split("=", 1)
    for part in env_list(
        "LIVE_PRICES_PER_MINUTE",
        "flux=0.0077,nova-3=0.0077,nova-2=0.0058,nova=0.0058,enhanced=0.0165,base=0.0145",
    )
)
# The limit of one upstream call: Deepgram stops after 10 minutes (Whisper 20).
CALL_DEADLINE_SECONDS = env_float("CALL_DEADLINE_SECONDS", 1260)
LEASE_SECONDS = env_float("LEASE_SECONDS", 30)
TICK_SECONDS = env_float("TICK_SECONDS", 0.1)
# How long a worker retries to commit a paid result.
FINISH_GRACE_SECONDS = env_float("FINISH_GRACE_SECONDS", 300)
MAX_ATTEMPTS = env_int("MAX_ATTEMPTS", 5)
MAX_CRASHES = env_int("MAX_CRASHES", 3)
BACKOFF_BASE_SECONDS = env_float("BACKOFF_BASE_SECONDS", 2)
BACKOFF_CAP_SECONDS = env_float("BACKOFF_CAP_SECONDS", 300)
# Delays in seconds after each failure: the example schedule of Standard Webhooks 1.0.0.
WEBHOOK_SCHEDULE_SECONDS = [
    float(part)
    for part in env_list(
        "WEBHOOK_SCHEDULE_SECONDS",
        "5,300,1800,7200,18000,36000,50400,72000,86400",
    )
]
# The minimum delay after 429, 502, 503, 504 or a timeout.
WEBHOOK_THROTTLED_SECONDS = env_float("WEBHOOK_THROTTLED_SECONDS", 60)
WEBHOOK_TIMEOUT_SECONDS = env_float("WEBHOOK_TIMEOUT_SECONDS", 15)
WEBHOOK_ENDPOINTS_MAX = env_int("WEBHOOK_ENDPOINTS_MAX", 50)  # per tenant
# The retention of deliveries, their bodies and attempts.
WEBHOOK_LOG_DAYS = env_int("WEBHOOK_LOG_DAYS", 30)
# Internal receivers that customers' URLs may reach: host, host:port or CIDR.
EGRESS_ALLOW = checked("EGRESS_ALLOW", env_list("EGRESS_ALLOW"), EgressAllow.parse)
# An HTTP proxy that checks addresses, for customers' URLs not listed above.
EGRESS_PROXY = checked("EGRESS_PROXY", env_str("EGRESS_PROXY", ""), EgressProxy.parse)
# Hosts listed above may always use http.
WEBHOOK_SCHEMES = (
    ["https", "http"] if env_bool("WEBHOOK_ALLOW_HTTP", default=False) else ["https"]
)
# After SIGTERM a web process reports not ready and keeps serving for this time.
DRAIN_SECONDS = env_float("DRAIN_SECONDS", 0)
# The region of this API server. It is not ready while the region is closed and another
# is open.
SERVER_REGION = env_str("SERVER_REGION", "")
# Incoming requests; 0 means no limit. Tenant.requests_per_minute overrides both.
REQUESTS_PER_MINUTE = env_int("REQUESTS_PER_MINUTE", 6000)
REQUESTS_PER_MINUTE_PER_KEY = env_int("REQUESTS_PER_MINUTE_PER_KEY", 3000)
FAILED_KEYS_PER_MINUTE = env_int("FAILED_KEYS_PER_MINUTE", 120)
API_KEYS_PER_TENANT = env_int("API_KEYS_PER_TENANT", 100)
# Concurrent requests of one tenant per web process; 0 means no limit.
MAX_RUNNING_REQUESTS = env_int("MAX_RUNNING_REQUESTS", 4)
# Threads of a web process that may wait for the end of jobs, and for incoming bodies
# (WSGI). Their sum must be less than its number of threads.
MAX_WAITING_REQUESTS = env_int("MAX_WAITING_REQUESTS", 40)
MAX_ARRIVING_BODIES = env_int("MAX_ARRIVING_BODIES", 40)
# Concurrent downloads of batch results per process.
MAX_DOWNLOADS = env_int("MAX_DOWNLOADS", 8)
# Event streams: maximum per process and per tenant in it, maximum duration, heartbeat
# interval.
EVENT_STREAMS_MAX = env_int("EVENT_STREAMS_MAX", 500)
EVENT_STREAMS_MAX_PER_TENANT = env_int("EVENT_STREAMS_MAX_PER_TENANT", 100)
EVENT_STREAM_SECONDS = env_float("EVENT_STREAM_SECONDS", 300)
EVENT_STREAM_HEARTBEAT_SECONDS = env_float("EVENT_STREAM_HEARTBEAT_SECONDS", 15)
# Live sessions: maximum per process, maximum duration, and more origins whose web pages
# may open one.
LIVE_SESSIONS_MAX = env_int("LIVE_SESSIONS_MAX", 250)
LIVE_MAX_SECONDS = env_float("LIVE_MAX_SECONDS", 7200)
LIVE_ALLOWED_ORIGINS = env_list("LIVE_ALLOWED_ORIGINS")
# A session ends after this time without a message, or with an unread message.
LIVE_IDLE_SECONDS = env_float("LIVE_IDLE_SECONDS", 10)
LIVE_SLOW_SECONDS = env_float("LIVE_SLOW_SECONDS", 10)
# A session ends after this time of keepalives without audio. The second limit applies
# while callers of other tenants are refused a session.
LIVE_KEEPALIVE_SECONDS = env_float("LIVE_KEEPALIVE_SECONDS", 600)
LIVE_KEEPALIVE_CONTENDED_SECONDS = env_float("LIVE_KEEPALIVE_CONTENDED_SECONDS", 60)
# Upstream connection: time without results before a reconnect, time to keep trying to
# reconnect, audio buffered meanwhile, and time to wait for the last results.
LIVE_STALL_SECONDS = env_float("LIVE_STALL_SECONDS", 12)
LIVE_RECONNECT_SECONDS = env_float("LIVE_RECONNECT_SECONDS", 120)
LIVE_BUFFER_SECONDS = env_float("LIVE_BUFFER_SECONDS", 30)
LIVE_DRAIN_SECONDS = env_float("LIVE_DRAIN_SECONDS", 10)
# The time to wait for the last results when the process stops.
LIVE_SHUTDOWN_SECONDS = env_float("LIVE_SHUTDOWN_SECONDS", 3)
# The quota reserved for a job of unknown duration until it ends.
DEFAULT_RESERVE_SECONDS = env_int("DEFAULT_RESERVE_SECONDS", 300)
# The hybrid router transcribes shorter audio immediately and queues longer audio.
SYNC_BELOW_SECONDS = env_float("SYNC_BELOW_SECONDS", 60)
ASYNC_ABOVE_SECONDS = env_float("ASYNC_ABOVE_SECONDS", 300)
# How long /v1/listen (Deepgram's API) and /v1/audio/transcriptions (OpenAI's) wait for
# a permit and the response.
LISTEN_WAIT_SECONDS = env_float("LISTEN_WAIT_SECONDS", 600)
# Deepgram's model for each of OpenAI's: NAME=MODEL,NAME=MODEL.
OPENAI_MODELS = dict(
    part.split("=", 1)
    for part in env_list(
        "OPENAI_MODELS",
        "gpt-transcribe=nova-3,whisper-1=nova-3,gpt-4o-transcribe=nova-3,"
        "gpt-4o-mini-transcribe=nova-3,gpt-4o-mini-transcribe-2025-12-15=nova-3,"
        "gpt-4o-transcribe-diarize=nova-3",
    )
)
# Concurrent synchronous calls per web process; more are queued.
SYNC_MAX_IN_FLIGHT = env_int("SYNC_MAX_IN_FLIGHT", 40)
# The maximum share of a region's capacity reserved for waiting synchronous callers.
SYNC_SHARE = env_float("SYNC_SHARE", 0.2)
IDEMPOTENCY_HOURS = env_int("IDEMPOTENCY_HOURS", 24)
# Ended jobs are erased after this number of days; 0 means never.
RETENTION_DAYS = env_int("RETENTION_DAYS", 0)
# Functions that erase all content of jobs: (jobs, now) -> counts for the receipt.
ERASERS = [
    "jobs.retention.erasure.erase_own",
    "transcripts.outcomes.erasure.erase_transcripts",
    "workers.webhooks.delivery.retention.erase_deliveries",
]

# Functions called in the transaction that ends jobs, before it inserts their events:
# (events, jobs by id, time).
EVENT_SUBSCRIBERS = ["workers.webhooks.delivery.fan_out.build_deliveries"]
# Functions called with a job whose metadata changed, in the same transaction.
JOB_UPDATE_SUBSCRIBERS = ["transcripts.search.indexing.reindex_job"]

# Functions that erase one kind of content: see jobs.retention.retention.
CONTENT_ERASERS = {
    "AUDIO": ["jobs.retention.erasure.erase_audio"],
    "TRANSCRIPT": [
        "transcripts.outcomes.erasure.erase_transcripts",
        "workers.webhooks.delivery.retention.erase_deliveries",
        "jobs.retention.erasure.erase_answers",
    ],
    "PAYLOAD": ["workers.webhooks.delivery.retention.erase_deliveries"],
}

# The metrics port of each process: a port, a range for servers with several workers, or
# 0 for none. `/metrics` of the API requires the token; without a token it serves only
# requests from this machine.
METRICS_PORTS = env_ports("METRICS_PORT")
METRICS_HOST = env_str("METRICS_HOST", "127.0.0.1")
METRICS_TOKEN = env_str("METRICS_TOKEN", "")
# Liveness files for `manage.py probe`, local to each machine.
PROBE_DIR = Path(env_str("PROBE_DIR", str(BASE_DIR / "var" / "probes")))
TASK_EVENTS = env_bool("TASK_EVENTS", default=False)
# The URL of Flower, for a link in the admin; "" for none.
FLOWER_URL = env_str("FLOWER_URL", "").rstrip("/")
# The OTLP endpoint (HTTP) for traces; "" disables tracing. The SDK's own variables
# (OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS …) apply too.
OTEL_EXPORTER_OTLP_ENDPOINT = checked(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    env_str("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/"),
    tracing.check_endpoint,
)
TRACER = (
    "transcribe_platform.tracing.OpenTelemetry" if OTEL_EXPORTER_OTLP_ENDPOINT else ""
)
# The name of the process in logs and traces.
OTEL_SERVICE_NAME = env_str("OTEL_SERVICE_NAME", "transcription-platform")
LOG_LEVEL = env_str("LOG_LEVEL", "INFO")
_QUIETER = {"ERROR", "CRITICAL"}
# "auto" is "console" on a terminal, else "json".
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
        # Any client can cause it: it gets a 400, without a traceback in the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "django.server": {"handlers": ["stderr"], "propagate": False},
        # httpx logs URLs with query strings, which contain customers' secrets.
        "httpx": {"level": "WARNING"},
        # Celery logs two lines per task; the platform logs each change of status.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        # psycopg sets its own level to WARNING.
        "psycopg": {"level": LOG_LEVEL if LOG_LEVEL in _QUIETER else "WARNING"},
    },
}
