"""The ASGI door: sockets and event streams; the embedded run serves all of it here."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "transcribe_platform.settings")
application = get_asgi_application()
