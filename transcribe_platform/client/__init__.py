"""The Python client of the API; see docs/client.md.

Imports neither Django nor the rest of the platform, except for the version.
"""

from transcribe_platform.client.calls import Patience
from transcribe_platform.client.client import Client
from transcribe_platform.client.requests import JobRequest
from transcribe_platform.client.uploads import AudioFile

__all__ = ["AudioFile", "Client", "JobRequest", "Patience"]
