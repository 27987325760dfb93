"""The dispatcher, the Celery tasks and periodic cleanup."""
