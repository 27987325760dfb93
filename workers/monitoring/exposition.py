"""Show this process's metrics to Prometheus, on a port of its own.

Every process has one, so that sums, restarts and process figures are right without
files that processes share. ``METRICS_PORT`` may be a range, for servers that run
several workers: each takes one that is free, and who finds none tries again.
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
    """Register what this process shows besides its own, and serve it if that is on."""
    for collector in collectors:
        REGISTRY.register(collector)
    ports = settings.METRICS_PORTS
    if ports and not _serve(ports):
        logger.warning("no free port for metrics", extra={"ports": str(ports)})
        threading.Thread(
            target=_serve_later, args=[ports], name="metrics-port", daemon=True
        ).start()


def _serve(ports: range) -> bool:
    for port in ports:
        try:
            prometheus_client.start_http_server(port, addr=settings.METRICS_HOST)
        except OSError:
            continue
        return True
    return False


def _serve_later(ports: range) -> None:
    """Wait for one of another process that ends: one restarted may overlap it."""
    while not _serve(ports):
        time.sleep(RETRY_SECONDS)
