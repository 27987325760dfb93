"""Idempotency for requests that create a secret, without storing the secret.

The response stored for an Idempotency-Key would contain the secret in clear text. So a
replayed response omits it; a client that lost the first response rotates the secret.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.rest.idempotency import IdempotentRequest, StoredResponse
from jobs.rest.views import get_caller, respond


class SecretRequest:
    """A request to process at most once per Idempotency-Key."""

    def __init__(self, request: Request, *, route: str) -> None:
        self.caller, self.now = get_caller(request), timezone.now()
        # A keyed digest: a plain hash of a short value could be guessed.
        body = json.dumps(request.data, sort_keys=True)
        self._idempotent = IdempotentRequest(
            tenant=self.caller.tenant,
            route=route,
            key=self.caller.key,
            digest=salted_hmac("webhooks.endpoints", body, algorithm="sha256").digest(),
            now=self.now,
        )
        self._response: StoredResponse | None = None
        self._is_replayed = False

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Open the transaction of the request; yield whether it is the first.

        The first one does the work and calls ``store`` inside the block.
        """
        with self._idempotent.lock() as stored:
            self._response, self._is_replayed = stored, stored is not None
            yield stored is None

    def store(self, status_code: int, body: dict[str, Any], location: str = "") -> None:
        """Store the response, without the secret."""
        self._response = StoredResponse(
            status_code=status_code, body=body, location=location
        )
        self._idempotent.store(self._response)

    def respond(self, **unstored: Any) -> Response:
        """Return the response, with the fields that must not be stored."""
        response = cast("StoredResponse", self._response)
        return respond(response, replayed=self._is_replayed, retry_after=0, **unstored)
