"""The WSGI door: REST and admin."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "transcribe_platform.settings")
application = get_wsgi_application()
