"""A client of the platform's API for Python programs; docs/client.md shows how.

Imports nothing of the platform's, nor of Django: what is here can be copied elsewhere.
"""

from transcribe_platform.client.calls import Patience
from transcribe_platform.client.client import Client
from transcribe_platform.client.requests import JobRequest
from transcribe_platform.client.uploads import AudioFile

__all__ = ["AudioFile", "Client", "JobRequest", "Patience"]
