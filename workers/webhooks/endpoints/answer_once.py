"""Idempotency for requests that create a secret, without storing the secret.

The response stored for an Idempotency-Key would contain the secret in clear text. So a
replayed response omits it; a client that lost the first response rotates the secret.
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
    """A request to process at most once per Idempotency-Key.

    ``build_response`` turns the created object into the response without the secret.
    """

    caller: Caller
    now: datetime
    body: Any
    build_response: Callable[[Any], StoredResponse]

    def run(
        self, route: str, create: Callable[[], tuple[Any, str]]
    ) -> "SecretResponse":
        """Call ``create``, which returns an object and its secret, at most once."""
        secret = ""

        def respond() -> StoredResponse:
            nonlocal secret
            created, secret = create()
            return self.build_response(created)

        response, is_replayed = idempotency.answer_once(
            tenant=self.caller.tenant,
            route=route,
            key=self.caller.key,
            digest=self._digest(),
            now=self.now,
            make=respond,
        )
        return SecretResponse(response=response, is_replayed=is_replayed, secret=secret)

    def _digest(self) -> bytes:
        """Return a keyed digest: a plain hash of a short value could be guessed."""
        body = json.dumps(self.body, sort_keys=True)
        return salted_hmac("webhooks.endpoints", body, algorithm="sha256").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretResponse:
    """A response and its secret, "" if the response is replayed."""

    response: StoredResponse
    is_replayed: bool
    secret: str = ""
