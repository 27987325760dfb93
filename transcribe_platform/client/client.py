"""The API client."""

import os
import time
from collections.abc import Callable
from typing import Any

from transcribe_platform.client import live
from transcribe_platform.client.batches import Batches
from transcribe_platform.client.calls import ApiRequest, Patience
from transcribe_platform.client.following import EndHandler, Follower
from transcribe_platform.client.jobs import Jobs
from transcribe_platform.client.transcripts import Transcripts
from transcribe_platform.client.transport import Transport
from transcribe_platform.client.usage import UsageReports
from transcribe_platform.client.webhooks import Webhooks

URL_VARIABLE = "TRANSCRIBE_URL"
KEY_VARIABLE = "TRANSCRIBE_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"


class Client:
    """The API client. Thread-safe; a context manager that closes its connections.

    Without arguments it reads TRANSCRIBE_URL and TRANSCRIBE_API_KEY.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.transport = Transport(
            url or os.environ.get(URL_VARIABLE) or DEFAULT_URL,
            api_key or os.environ.get(KEY_VARIABLE, ""),
            patience=patience,
            sleep=sleep,
        )
        self.jobs = Jobs(self.transport)
        self.batches = Batches(self.transport)
        self.transcripts = Transcripts(self.transport)
        self.webhooks = Webhooks(self.transport)
        self.usage = UsageReports(self.transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def me(self) -> dict[str, Any]:
        """Return the tenant and the scopes of the key."""
        me: dict[str, Any] = self.transport.request_json(
            ApiRequest(method="GET", path="/v1/me")
        )
        return me

    def listen(self, **options: Any) -> live.LiveSession:
        """Open a live session. Raw audio needs ``encoding`` and ``sample_rate``."""
        return live.open_session(self.transport, options)

    def follow(self, on_end: EndHandler | None = None) -> Follower:
        """Return a follower, which waits for the end of many jobs."""
        return Follower(self.transport, on_end)
