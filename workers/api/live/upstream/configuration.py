"""Options that a client changes while its stream runs: Deepgram's ``Configure``. Pure.

One change at a time, and each gets exactly one response. An accepted change is part of
the query of later calls, so that it outlives a reconnect, in any region.
https://developers.deepgram.com/docs/configure
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.api.live.wire_format import (
    ConfigureRequest,
    ServerMessage,
    build_configure_failure,
)

# A change without a response for so long is reported as failed.
RESPONSE_SECONDS = 15.0


@dataclass(slots=True)
class Configuration:
    """The accepted changes of a session, and the one without a response."""

    accepted: dict[str, Any] = field(default_factory=dict)
    _pending: ConfigureRequest | None = None
    _is_sent: bool = False
    # Whether the client waits for the response.
    _is_awaited: bool = False
    _requested_at: float = 0.0

    def request(self, change: ConfigureRequest, *, now: float) -> ServerMessage | None:
        """Queue a change; return the failure if another one has no response yet."""
        if self._pending:
            description = "Another Configure is still awaiting its response."
            return build_configure_failure("CONFIGURE_ALREADY_PENDING", description)
        self._pending, self._is_sent, self._is_awaited = change, False, True
        self._requested_at = now
        return None

    def take_message(self) -> Mapping[str, Any] | None:
        """Return the message to send on this call, once."""
        if self._pending is None or self._is_sent:
            return None
        self._is_sent = True
        return self._pending.message

    def mark_disconnected(self) -> None:
        """Send a change without a response again on the next call."""
        self._is_sent = False

    def resolve(self, *, is_success: bool) -> bool:
        """End the change; return whether the client waits for the response."""
        pending, self._pending = self._pending, None
        if pending and is_success:
            self.accepted.update(pending.options)
        return pending is not None and self._is_awaited

    @property
    def is_sent(self) -> bool:
        """Whether a change was sent on this call and has no response."""
        return self._pending is not None and self._is_sent

    def give_up(self, *, before: float) -> ServerMessage | None:
        """Return a failure if the client waits since ``before`` for a response."""
        if self._pending is None or not self._is_awaited:
            return None
        if self._requested_at > before:
            return None
        self._is_awaited = False
        description = "Deepgram did not respond to the Configure."
        return build_configure_failure("CONFIGURE_INTERNAL_ERROR", description)
