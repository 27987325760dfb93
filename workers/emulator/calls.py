"""What prerecorded and live calls share: journal entry, key, permit, faults, errors."""

import time
from collections.abc import Set

from aiohttp import web

from workers.emulator import config, faults, journal, keys, limits, state
from workers.emulator.protocol import options, refusals


class ListenCall:
    """One call of `/v1/listen`: its request, journal entry and permit."""

    def __init__(self, request: web.Request) -> None:
        self._emulator = request.app[state.EMULATOR]
        self._request = request
        self._pairs = options.split_query(request.rel_url.raw_query_string)
        self._entry = state.open_entry(self._emulator, request, self._pairs)
        self._params = options.Options()
        self._permit: limits.Permit | None = None

    @property
    def request_id(self) -> str:
        """Return the `dg-request-id` of this call."""
        return self._entry.request_id

    def refuse(self, refusal: refusals.Refusal) -> web.Response:
        """Return an error response and close the journal entry."""
        self.close(status=refusal.status, outcome=journal.Outcome.ERROR)
        return refusal.response(self.request_id)

    def close(self, *, status: int, outcome: journal.Outcome) -> None:
        """Close the journal entry; later calls have no effect."""
        self._emulator.journal.close(
            self._entry, status=status, outcome=outcome, now=time.time()
        )

    def release_permit(self) -> None:
        """Release the permit; idempotent."""
        if self._permit is not None:
            self._permit.release()
            self._permit = None

    def _identify(self, authorization: str | None) -> keys.Caller:
        """Return the caller, or raise Refused with a 401."""
        caller = self._emulator.keyring.identify(authorization)
        self._entry.key, self._entry.project = caller.shown_key, caller.project
        return caller

    def _set_params(self, params: options.Options) -> None:
        self._params = params
        self._entry.model = params.shape.model
        self._entry.features = tuple(sorted(params.shape.flags))

    def _acquire_permit(
        self, limiter: limits.Limiter, caller: keys.Caller, tuning: config.Tuning
    ) -> None:
        """Acquire the permit, or raise Refused with a 429."""
        self._permit = limiter.acquire(
            caller.project, tuning=tuning, now=time.monotonic()
        )

    def _choose_faults(
        self, *, content: str, kinds: Set[faults.Kind]
    ) -> tuple[faults.Fault, ...]:
        subject = faults.Subject(
            tags=self._params.tags,
            path=self._entry.path,
            model=self._params.shape.model,
            url=self._entry.url,
            content=content,
        )
        chosen = self._emulator.faults.choose(subject, kinds)
        if chosen:
            self._entry.fault = ", ".join(fault.name for fault in chosen)
        return chosen
