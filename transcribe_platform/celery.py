"""The Celery app: broker, queues, beat schedule and the reason for each setting.

Celery runs jobs that the dispatcher has claimed. Retries, schedules and results are
database rows, so the loss of the broker loses no job.
"""

import os
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any

from celery import Celery, signals
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue
from kombu.utils.url import parse_url

from jobs.telemetry import log_context, tracing
from transcribe_platform import statement_timeouts, stores
from workers.liveness import startup
from workers.liveness.consumer_check import ConsumerCheck
from workers.monitoring import exposition
from workers.queue.broker import patch_reconnect

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "transcribe_platform.settings")
# Django's system checks would load every route and page in each worker; `make check`
# runs them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

EXAMPLE_LOGIN = "operator:change-me"  # of deploy/env.example


def configure_flower(
    words: Sequence[str], environment: MutableMapping[str, str]
) -> None:
    """Make Flower read-only; exit if its login is missing or the example's.

    Its actions are not audited, and the platform's claims ignore them.
    """
    if "celery" not in words[0] or "flower" not in words or "--help" in words:
        return
    environment["FLOWER_READ_ONLY"] = "1"
    login = environment.get("FLOWER_BASIC_AUTH", "")
    if login in {"", EXAMPLE_LOGIN}:
        raise SystemExit(
            "FLOWER_BASIC_AUTH is missing or the example. Set operator:PASSWORD with a"
            " password of your own, such as that of `openssl rand -hex 16`."
        )


configure_flower(sys.argv, os.environ)
patch_reconnect()
app = Celery("transcribe_platform")
app.conf.update(
    broker_url=settings.REDIS_URL,
    # kombu reads the URL's parameters; Flower reads only this setting.
    broker_use_ssl=parse_url(settings.REDIS_URL).get("ssl", False),
    broker_transport_options={
        # Messages are acknowledged early and leases recover lost ones: Redis need not
        # keep a copy of each until then.
        "ack_emulation": False,
        "max_connections": 100,
        # A publish on a dead connection must not block the dispatcher forever.
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        # Without a connection kombu would otherwise retry for six seconds per message.
        "max_retries": 0,
        "health_check_interval": 10,  # half-open BRPOP noticed in ~20 s, not 50
        "queue_order_strategy": "priority",
        "priority_steps": [0, 3, 6, 9],
        # Otherwise all apps on the Redis server share the key `unacked`.
        "global_keyprefix": "transcribe:",
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # the default gives up after 100
    broker_pool_acquire_timeout=5,
    # The dispatcher releases a claim immediately when a send fails.
    task_publish_retry=False,
    task_acks_late=False,  # leases recover lost tasks, not the broker
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue="housekeeping",
    # Otherwise Celery gives all of them the exchange and the key of the default queue.
    task_queues=[
        Queue(name, Exchange(name, type="direct"), routing_key=name)
        for name in ("housekeeping", "webhooks")
    ],
    task_default_priority=6,  # without a priority Redis messages are the most urgent
    # No message waits in one process while another has free slots.
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # Costs 1 ms of worker CPU per task. Without it Flower lists no tasks.
    worker_send_task_events=settings.TASK_EVENTS,
    worker_hijack_root_logger=False,
    enable_utc=True,
    beat_scheduler="workers.liveness.beat_scheduler:Scheduler",
    beat_max_loop_interval=5,
    beat_schedule={
        "sweep": {"task": "workers.sweep", "schedule": 3600.0},
        "mend-quotas": {"task": "workers.mend_quotas", "schedule": 3600.0},
        "retention": {"task": "workers.retention", "schedule": 3600.0},
        "retention-of-jobs": {
            "task": "workers.retention_of_jobs",
            "schedule": 60.0,
            "options": {"expires": 60},
        },
        "index-transcripts": {
            "task": "workers.index_transcripts",
            "schedule": 60.0,
            "options": {"expires": 60},
        },
        # A probe that waited longer is obsolete.
        "probe-regions": {
            "task": "workers.probe_regions",
            "schedule": 15.0,
            "options": {"expires": 15},
        },
    },
)
app.steps["consumer"].add(ConsumerCheck)
app.autodiscover_tasks(["workers.queue", "workers.webhooks"])


@signals.setup_logging.connect
def keep_django_logging(**_kwargs: Any) -> None:
    """Disable Celery's logging setup, as any connected receiver does."""


@signals.worker_init.connect
@signals.beat_init.connect
def prepare_stores(**_kwargs: Any) -> None:
    """Limit statements, and exit if TLS to a store fails.

    Celery logs and ignores other exceptions of a receiver.
    """
    statement_timeouts.limit_statements(settings.WORKER_STATEMENT_SECONDS)
    try:
        stores.check_tls()
    except ImproperlyConfigured as error:
        raise SystemExit(str(error)) from None


@signals.worker_init.connect
@signals.beat_init.connect
def expose_metrics(**_kwargs: Any) -> None:
    """Expose the metrics of this process; `-P threads` is one process."""
    exposition.expose()


@signals.worker_ready.connect
def freeze_objects(**_kwargs: Any) -> None:
    """Exclude the objects loaded at start from garbage collection."""
    startup.freeze_startup_objects()


@signals.task_prerun.connect
def bind_task(task_id: str, task: Any, kwargs: dict[str, Any], **_signal: Any) -> None:
    """Bind the task, its job and its trace to its log lines."""
    job = {"job_id": kwargs["job_id"]} if "job_id" in kwargs else {}
    log_context.bind(task=task.name, task_id=task_id, **job)
    tracing.enter(kwargs.get("traceparent", ""))
