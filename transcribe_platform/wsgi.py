"""The WSGI application: REST API and admin."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "transcribe_platform.settings")
_django = get_wsgi_application()

# These read the settings, which the application has loaded.
from jobs.audio import probe  # noqa: E402
from transcribe_platform import statement_timeouts, stores  # noqa: E402
from transcribe_platform.middleware.arriving_bodies import ArrivingBodies  # noqa: E402
from transcribe_platform.middleware.head_limits import WsgiHeadLimits  # noqa: E402
from workers.liveness import graceful_shutdown, startup  # noqa: E402
from workers.monitoring import exposition  # noqa: E402
from workers.monitoring.stores import report_uploads  # noqa: E402

stores.check_tls()
statement_timeouts.limit_statements(settings.WEB_STATEMENT_SECONDS)
graceful_shutdown.delay_granian_shutdown()
startup.freeze_startup_objects(routes=True)
startup.shorten_switch_interval()
exposition.expose()
report_uploads()
probe.warn_if_unconfined()
application = WsgiHeadLimits(ArrivingBodies(_django))
