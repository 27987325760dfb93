"""The OpenAPI document of the whole API, at one address, without a key."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularJSONAPIView

from jobs.api import HeaderNegotiation


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Say in the document how to authenticate."""

    target_class = "jobs.authentication.ApiKeyAuthentication"
    name = "ApiKey"
    match_subclasses = True

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        """Return the security scheme object."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "tp_live_…"}


class OpenApiView(SpectacularJSONAPIView):
    """The document as JSON."""

    content_negotiation_class = HeaderNegotiation
    authentication_classes = ()
    permission_classes = ()
