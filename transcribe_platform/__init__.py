"""The Django project: settings, URLs, ASGI, WSGI and the Celery app."""
