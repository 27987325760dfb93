"""The ASGI application: live sessions and event streams.

It serves all other routes too; the embedded run uses only this application.
"""

import os
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "transcribe_platform.settings")
django.setup(set_prefix=False)

# These import models, which need the apps to be loaded.
from jobs.audio import probe  # noqa: E402
from jobs.telemetry import tracing  # noqa: E402
from transcribe_platform import statement_timeouts, stores  # noqa: E402
from transcribe_platform.middleware.head_limits import AsgiHeadLimits  # noqa: E402
from transcribe_platform.middleware.lazy_bodies import LazyBodyHandler  # noqa: E402
from workers.api.events import shutdown  # noqa: E402
from workers.api.live import endpoint  # noqa: E402
from workers.api.live.registry import get_registry  # noqa: E402
from workers.liveness import startup  # noqa: E402
from workers.monitoring import exposition  # noqa: E402
from workers.monitoring.live_sessions import LiveSessionCollector  # noqa: E402
from workers.monitoring.stores import report_uploads  # noqa: E402

_django: Any = LazyBodyHandler()
stores.check_tls()
statement_timeouts.limit_statements(settings.WEB_STATEMENT_SECONDS)
startup.freeze_startup_objects(routes=True)
startup.shorten_switch_interval()
exposition.expose(LiveSessionCollector())
report_uploads()
probe.warn_if_unconfined()


async def _serve(scope: Any, receive: Any, send: Any) -> None:
    """Pass HTTP to Django and WebSockets to the live API; handle lifespan."""
    if scope["type"] == "websocket":
        await endpoint.serve(scope, receive, send, django=_django)
        return
    if scope["type"] != "lifespan":
        await _django(scope, receive, send)
        return
    shutdown.end_streams_at_sigterm(get_registry().shut_down)
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await sync_to_async(tracing.flush, thread_sensitive=False)()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


application = AsgiHeadLimits(_serve)
