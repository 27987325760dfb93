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
from jobs.rest.idempotency import IdempotentRequest, StoredResponse


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
        request = IdempotentRequest(
            tenant=self.caller.tenant,
            route=route,
            key=self.caller.key,
            digest=self._digest(),
            now=self.now,
        )
        with request.lock() as stored:
            if stored:
                return SecretResponse(response=stored, is_replayed=True)
            created, secret = create()
            response = self.build_response(created)
            request.store(response)
        return SecretResponse(response=response, is_replayed=False, secret=secret)

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
