"""The app of what came out."""

from django.apps import AppConfig


class TranscriptsConfig(AppConfig):
    """Transcripts and the use case that makes them."""

    name = "transcripts"
