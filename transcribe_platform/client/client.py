"""The client: one platform, one key."""

import os
import time
from collections.abc import Callable
from typing import Any, cast

from transcribe_platform.client import live
from transcribe_platform.client.batches import Batches
from transcribe_platform.client.calls import Call, Patience
from transcribe_platform.client.following import Follower, Tell
from transcribe_platform.client.jobs import Jobs
from transcribe_platform.client.transcripts import Transcripts
from transcribe_platform.client.transport import Transport
from transcribe_platform.client.usage import UsageReports
from transcribe_platform.client.webhooks import Webhooks

URL_VARIABLE = "TRANSCRIBE_URL"
KEY_VARIABLE = "TRANSCRIBE_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"


class Client:
    """The platform's API. Safe for threads; a context manager that closes connections.

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
        """Return whose key this is and what it may do."""
        answer = self.transport.ask(Call(method="GET", path="/v1/me"))
        return cast("dict[str, Any]", answer)

    def listen(self, **options: Any) -> live.LiveSession:
        """Open a live session with these options; raw audio needs its encoding."""
        return live.open_session(self.transport, options)

    def follow(self, tell: Tell | None = None) -> Follower:
        """Return one who learns of the end of many jobs."""
        return Follower(self.transport, tell)
