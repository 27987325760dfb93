"""The parameters of a job submission."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """The parameters of a job; omitted ones have the platform's defaults.

    ``options`` are Deepgram's, by name and type. A different ``nonce`` makes an
    otherwise equal request a new job.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    priority: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    callback_url: str | None = None
    allowed_regions: Sequence[str] = ()
    max_attempts: int | None = None
    expires_in_seconds: int | None = None
    nonce: str = ""

    def fields(self) -> dict[str, Any]:
        """Return the fields of the request body."""
        fields = {
            "options": dict(self.options),
            "priority": self.priority,
            "metadata": dict(self.metadata),
            "callback_url": self.callback_url,
            "allowed_regions": list(self.allowed_regions),
            "max_attempts": self.max_attempts,
            "expires_in_seconds": self.expires_in_seconds,
        }
        return {name: value for name, value in fields.items() if value}
