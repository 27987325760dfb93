"""The caller of a request: tenant, API key and idempotency key."""

from dataclasses import dataclass

from jobs.accounts import audit
from jobs.models import ApiKey, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The tenant and credentials on whose behalf a request runs."""

    tenant: Tenant
    # None for an operator.
    api_key: ApiKey | None
    # The Idempotency-Key header; "" if absent.
    key: str = ""
    # Actor name of an operator who acts for the tenant.
    operator: str = ""

    @property
    def actor(self) -> str:
        """The actor name recorded in the audit log."""
        return self.operator or audit.get_actor(self.api_key)
