"""The peer's WSGI door."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.bench.peer.settings")
application = get_wsgi_application()

# Celery's docs do this in the project's __init__, so that tasks find their app.
from tests.bench.peer import celery  # noqa: E402, F401
