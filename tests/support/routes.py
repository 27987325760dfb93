"""Every route of the API, from the URL resolver: a new one is tested by itself."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

NOBODY = UUID("0197b2f0-0000-7000-8000-000000000000")
_NOBODYS = {"uuid": NOBODY, "int": 1, "public_id": "Nobodys0"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One address and what its view takes."""

    template: str  # as in the URL configuration: /v1/jobs/<uuid:job_id>
    view: Any
    methods: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether it asks for no key."""
        return not self.view.permission_classes

    @property
    def is_stream(self) -> bool:
        """Whether it answers without an end, over ASGI alone (tests/integration/events)."""
        return any(
            renderer.media_type == "text/event-stream"
            for renderer in self.view.renderer_classes
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its ids."""
        return tuple(match["name"] for match in _PARAMETER.finditer(self.template))

    @property
    def documented(self) -> str:
        """Return the path as OpenAPI writes it."""
        return _PARAMETER.sub(r"{\g<name>}", self.template)

    def path(self, **ids: Any) -> str:
        """Return the address with these ids; what is left out is nobody's."""

        def fill(match: re.Match[str]) -> str:
            other = _NOBODYS.get(match["kind"], "nobodys")
            return str(ids.get(match["name"], other))

        return _PARAMETER.sub(fill, self.template)


def api_routes() -> list[Route]:
    """Return every route under /v1, in the order of the URL configuration."""
    return [
        Route(template=template, view=view, methods=_methods(view))
        for template, pattern in _patterns(get_resolver(), "/")
        if template.startswith("/v1/")
        and (view := getattr(pattern.callback, "view_class", None)) is not None
        # The endpoints of Deepgram's and OpenAI's APIs have tests of their own.
        and not hasattr(view, "translate")
        # A socket's handshake: tests/integration/live.
        and not getattr(view, "is_socket", False)
    ]


def operations(*methods: str) -> Any:
    """Parametrize a test by (method, route) of every route that needs a key."""
    wanted = [
        (method, route)
        for route in api_routes()
        for method in route.methods
        if not route.is_open and (not methods or method in methods)
    ]
    names = [f"{method} {route.documented}" for method, route in wanted]
    return pytest.mark.parametrize(("method", "route"), wanted, ids=names)


def _methods(view: Any) -> tuple[str, ...]:
    return tuple(method for method in METHODS if hasattr(view, method.lower()))


def _patterns(resolver: Any, prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for each in resolver.url_patterns:
        place = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _patterns(each, place)
        else:
            yield place, each
