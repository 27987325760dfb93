"""The Celery app: broker, queues and why each setting is what it is.

Celery runs what the dispatcher claimed. It keeps nothing: retries, schedules and
results are rows, so the broker may vanish at any moment.
"""

import os
from typing import Any

from celery import Celery, signals
from django.conf import settings
from kombu import Queue

from jobs.telemetry import log_context, tracing
from workers.liveness import startup
from workers.liveness.consumer_check import ConsumerCheck
from workers.monitoring import exposition
from workers.queue.broker import patch_reconnect

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "transcribe_platform.settings")
# Django's review of the code would load every route and page in each worker, and is for
# `make check`.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

patch_reconnect()
app = Celery("transcribe_platform")
app.conf.update(
    broker_url=settings.REDIS_URL,
    broker_transport_options={
        "visibility_timeout": 3600,  # early ack: only messages in hand-over
        "max_connections": 100,
        # A publish on a dead link must not hang the dispatcher for ever.
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        # Nor may one on no link at all: kombu would try for six seconds, each time.
        "max_retries": 0,
        "health_check_interval": 10,  # half-open BRPOP noticed in ~20 s, not 50
        "queue_order_strategy": "priority",
        "priority_steps": [0, 3, 6, 9],
        # 'unacked' is otherwise shared with every other app on that Redis.
        "global_keyprefix": "transcribe:",
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # the default gives up after 100
    broker_pool_acquire_timeout=5,
    # The dispatcher hands a claim back at once when a send fails.
    task_publish_retry=False,
    task_acks_late=False,  # the lease is the safety net, not the broker
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue="housekeeping",
    task_queues=[Queue("housekeeping"), Queue("webhooks")],
    task_default_priority=6,  # none given means the most urgent on Redis
    # A message must not wait in one process's pool while another has free slots.
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # A millisecond of worker CPU a task; Flower's task list is empty without.
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
        # A probe that waited longer than this is of no use any more.
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
def keep_our_logging(**_kwargs: Any) -> None:
    """Leave logging to Django: a connected receiver switches Celery's own off."""


@signals.worker_init.connect
@signals.beat_init.connect
def show_metrics(**_kwargs: Any) -> None:
    """Show what this process counts; `-P threads` is one process."""
    exposition.expose()


@signals.worker_ready.connect
def settle(**_kwargs: Any) -> None:
    """Spare the collector what is loaded by now."""
    startup.freeze_startup_objects()


@signals.task_prerun.connect
def bind_task(task_id: str, task: Any, kwargs: dict[str, Any], **_signal: Any) -> None:
    """Bind the task, its job and its trace to every log line it writes."""
    job = {"job_id": kwargs["job_id"]} if "job_id" in kwargs else {}
    log_context.bind(task=task.name, task_id=task_id, **job)
    tracing.enter(kwargs.get("traceparent", ""))
