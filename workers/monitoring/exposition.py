"""Serves this process's metrics to Prometheus, on a separate port.

Each process has its own port, so that counters and process metrics are correct without
shared files. ``METRICS_PORT`` may be a range for servers that run several workers: each
takes a free port, and retries if there is none.
"""

import logging
import threading
import time

import prometheus_client
from django.conf import settings
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0


def expose(*collectors: Collector) -> None:
    """Register collectors, and serve the metrics if ``METRICS_PORT`` is set."""
    for collector in collectors:
        REGISTRY.register(collector)
    ports = settings.METRICS_PORTS
    if ports and not _serve(ports):
        logger.warning("no free port for metrics", extra={"ports": str(ports)})
        threading.Thread(
            target=_serve_when_port_is_free,
            args=[ports],
            name="metrics-port",
            daemon=True,
        ).start()


def _serve(ports: range) -> bool:
    for port in ports:
        try:
            prometheus_client.start_http_server(port, addr=settings.METRICS_HOST)
        except OSError:
            continue
        return True
    return False


def _serve_when_port_is_free(ports: range) -> None:
    """Retry until a port is free: a restarted process can overlap the old one."""
    while not _serve(ports):
        time.sleep(RETRY_SECONDS)
