"""Answer once what makes a secret, and keep no secret for answering again.

The answer kept for an Idempotency-Key would be the secret in clear, where the table of
secrets has it encrypted. So a repeated request is told that the thing is there and not
what the secret is; whoever lost the first answer rotates it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.crypto import salted_hmac

from jobs.accounts.caller import Caller
from jobs.rest import idempotency
from jobs.rest.idempotency import StoredResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRequest:
    """A request to be answered once: whose, when, and how its answer is made."""

    caller: Caller
    now: datetime
    body: Any
    answer: Callable[[Any], StoredResponse]

    def run(self, route: str, make: Callable[[], tuple[Any, str]]) -> "SecretResponse":
        """Run ``make``, which returns the thing and its secret, at most once."""
        shown = ""

        def answer() -> StoredResponse:
            nonlocal shown
            thing, shown = make()
            return self.answer(thing)

        made, replayed = idempotency.answer_once(
            tenant=self.caller.tenant,
            route=route,
            key=self.caller.key,
            digest=self._digest(),
            now=self.now,
            make=answer,
        )
        return SecretResponse(answer=made, replayed=replayed, secret=shown)

    def _digest(self) -> bytes:
        """Return a keyed digest: a plain one of a short header value can be guessed."""
        sent = json.dumps(self.body, sort_keys=True)
        return salted_hmac("webhooks.endpoints", sent, algorithm="sha256").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretResponse:
    """An answer, and the secret that it may show; "" where it is a repeated one."""

    answer: StoredResponse
    replayed: bool
    secret: str = ""
