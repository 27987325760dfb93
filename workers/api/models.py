"""``/v1/models``: one document that is both OpenAI's list and Deepgram's.

An error has the fields of both envelopes, because the URL does not tell who asks.
"""

import json
from typing import Any

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from jobs.errors import NotFound
from jobs.option_values import MODELS
from jobs.rest.views import ApiView
from workers.api.listen import deepgram_errors, models_catalog
from workers.api.openai import openai_errors

# Deepgram does not publish when a model was created.
_CREATED = 0


def translate(problem: HttpResponse) -> HttpResponse:
    """Return a problem (RFC 9457) with the fields of both APIs' errors."""
    of_deepgram = deepgram_errors.translate(problem)
    of_openai = openai_errors.translate(problem)
    of_openai.content = json.dumps(
        json.loads(of_deepgram.content) | json.loads(of_openai.content)
    ).encode()
    for name, value in of_deepgram.items():
        of_openai.headers.setdefault(name, value)
    return of_openai


class ModelsView(ApiView):
    """Base class of the model views; any key may read them."""

    auth_schemes = ("token", "bearer")
    translate = staticmethod(translate)

    def _check_query(self, request: Request) -> None:
        """Do nothing: Deepgram's parameters select nothing here."""


@extend_schema(exclude=True)
class Models(ModelsView):
    """The models."""

    def get(self, _request: Request) -> HttpResponse:
        """List the models that a request may name."""
        names = [*settings.OPENAI_MODELS, *sorted(MODELS)]
        return JsonResponse(
            {
                "object": "list",
                "data": [_describe(name) for name in names],
                "stt": models_catalog.MODELS,
                "tts": [],
            }
        )


@extend_schema(exclude=True)
class Model(ModelsView):
    """One model."""

    def get(self, _request: Request, model: str) -> HttpResponse:
        """Retrieve the model by its name, or by Deepgram's uuid."""
        found = models_catalog.find_model(model)
        if found is None and model not in settings.OPENAI_MODELS:
            message = f"The model '{model}' does not exist. GET /v1/models lists all."
            raise NotFound(message, code="model_unknown")
        return JsonResponse({**_describe(model), **(found or {})})


def _describe(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "deepgram",
    }
