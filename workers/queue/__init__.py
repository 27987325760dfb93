"""Dispatcher, Celery tasks and periodic housekeeping."""
