"""The rest of Deepgram's API: access tokens, models, and reports of the one project.

The project of a key is its tenant. Paths of Deepgram's API that the platform does not
serve are answered too, with what to use instead, because SDKs read only this envelope.
"""

from datetime import UTC
from typing import Any, NoReturn, cast
from uuid import UUID

from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from rest_framework.request import Request

from jobs.accounts import access_tokens
from jobs.errors import InvalidRequest
from jobs.models import Tenant
from jobs.rest.views import get_api_key, get_tenant
from workers.api.listen import deepgram_errors, ledger, models_catalog
from workers.api.listen.deepgram_errors import DeepgramError
from workers.api.listen.views import DeepgramView

DEFAULT_SECONDS, MAX_SECONDS = 30, 3600


class Grant(DeepgramView):
    """Access tokens for clients that must not hold a key."""

    required_scopes = {"POST": "jobs:write"}

    def post(self, request: Request) -> HttpResponse:
        """Issue a token that may only transcribe."""
        text, seconds = access_tokens.issue_token(
            get_api_key(request),
            seconds=_read_seconds(
                cast("dict[str, Any]", request.data).get("ttl_seconds")
            ),
            now=timezone.now(),
        )
        response = JsonResponse({"access_token": text, "expires_in": seconds})
        response.headers["Cache-Control"] = "no-store"
        return response


class _ProjectView(DeepgramView):
    """A resource of the project in the URL."""

    required_scopes = {"GET": "usage:read"}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check that the project is the key's, after the key."""
        super().initial(request, *args, **kwargs)
        if get_tenant(request).pk != kwargs.get("project_id", get_tenant(request).pk):
            raise DeepgramError(404, "PROJECT_NOT_FOUND", "Project not found.")

    def _check_query(self, request: Request) -> None:
        """Do nothing: each resource reads its own filters."""


class Projects(_ProjectView):
    """The project of a key. SDKs validate keys with this."""

    required_scopes = {"GET": "jobs:read"}

    def get(self, request: Request) -> HttpResponse:
        """List the project."""
        return JsonResponse({"projects": [_describe(get_tenant(request))]})


class Project(_ProjectView):
    """One project."""

    required_scopes = {"GET": "jobs:read"}

    def get(self, request: Request, project_id: UUID) -> HttpResponse:  # noqa: ARG002
        """Retrieve the project."""
        return JsonResponse(_describe(get_tenant(request)))


class ProjectModels(_ProjectView):
    """The models that the project may use."""

    required_scopes = {}

    def get(self, _request: Request, **_path: Any) -> HttpResponse:
        """List all models."""
        return JsonResponse({"stt": models_catalog.MODELS, "tts": []})


class ProjectModel(_ProjectView):
    """One model of the project."""

    required_scopes = {}

    def get(self, _request: Request, model: str, **_path: Any) -> HttpResponse:
        """Retrieve the model by its name or uuid."""
        if found := models_catalog.find_model(model):
            return JsonResponse(found)
        raise DeepgramError(404, "MODEL_NOT_FOUND", "Model not found.")


class Requests(_ProjectView):
    """The requests of the project that have ended."""

    def get(self, request: Request, project_id: UUID) -> HttpResponse:  # noqa: ARG002
        """List a page of requests."""
        params = request.query_params.dict()
        return JsonResponse(ledger.list_requests(get_tenant(request), params))


class ProjectRequest(_ProjectView):
    """One request of the project."""

    def get(
        self,
        request: Request,
        project_id: UUID,  # noqa: ARG002
        request_id: UUID,
    ) -> HttpResponse:
        """Retrieve the request by the id that the caller received."""
        if found := ledger.find_request(get_tenant(request), request_id):
            return JsonResponse({"request": found})
        raise DeepgramError(404, "REQUEST_NOT_FOUND", "Request not found.")


class ProjectUsage(_ProjectView):
    """Audio and requests of the project by day."""

    def get(self, request: Request, project_id: UUID) -> HttpResponse:  # noqa: ARG002
        """Sum a range of days."""
        today = timezone.now().astimezone(UTC).date()
        params = request.query_params.dict()
        return JsonResponse(ledger.sum_usage(get_tenant(request), params, today=today))


class Balances(_ProjectView):
    """What is left of the quotas of audio."""

    def get(self, request: Request, project_id: UUID) -> HttpResponse:  # noqa: ARG002
        """List the balances, in hours."""
        found = ledger.list_balances(get_tenant(request), now=timezone.now())
        return JsonResponse({"balances": found})


class Elsewhere(DeepgramView):
    """Paths of Deepgram's API that are not served, by any method or as a socket."""

    takes_raw_audio = True  # its body is not read
    is_socket = True

    def _check_query(self, request: Request) -> None:
        """Do nothing: the response names the path."""

    def refuse(self, _request: Request, path: str) -> NoReturn:
        """Raise the error of the longest known path that this one begins with."""
        parts = [
            "{id}" if each.count("-") == 4 else each  # noqa: PLR2004  a UUID
            for each in path.split("/")
        ]
        for end in range(len(parts), 0, -1):
            if hint := deepgram_errors.TABLES["elsewhere"].get("/".join(parts[:end])):
                raise DeepgramError(501, "NOT_IMPLEMENTED", hint)
        message = "Not found. Paths of this API have no trailing slash."
        raise DeepgramError(404, "NOT_FOUND", message)

    get = post = put = patch = delete = refuse


def _describe(tenant: Tenant) -> dict[str, str]:
    return {"project_id": str(tenant.pk), "name": tenant.name}


def _read_seconds(value: Any) -> int:
    """Return the lifetime of a token; SDKs send whole numbers as floats too."""
    if value is None:
        return DEFAULT_SECONDS
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != int(value) or not 1 <= value <= MAX_SECONDS:
        message = f"This must be a whole number from 1 to {MAX_SECONDS}."
        raise InvalidRequest(message, code="field_invalid", pointer="/ttl_seconds")
    return int(value)
