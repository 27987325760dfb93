"""Django app of transcripts."""

from django.apps import AppConfig


class TranscriptsConfig(AppConfig):
    """Transcripts, live sessions and search."""

    name = "transcripts"
