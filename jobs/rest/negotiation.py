"""Content negotiation for endpoints with several formats."""

from collections.abc import Iterable
from typing import Any

from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from jobs.rest.views import HeaderNegotiation, refuse_parameter


class FormatNegotiation(HeaderNegotiation):
    """Let ``?format=`` override ``Accept``, for URLs that people share."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer of the format; raises InvalidRequest if unknown."""
        name = request.query_params.get("format")
        if name is None:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(
                request, renderers, format_suffix
            )
            return chosen
        by_format = {each.format: each for each in renderers}
        if name not in by_format:
            refuse_parameter("format", f"Must be one of {', '.join(by_format)}.")
        return by_format[name], by_format[name].media_type


class BytesRenderer(BaseRenderer):
    """Returns bytes unchanged; nothing if the view streams the response itself."""

    def render(self, data: Any, *_context: Any, **_more: Any) -> bytes:
        """Return the bytes; a response to OPTIONS has none."""
        return bytes(data or b"")


def build_renderer(
    media_type: str, name: str, charset: str | None = BaseRenderer.charset
) -> type[BytesRenderer]:
    """Return the renderer of a media type whose bytes the view builds."""
    names = {"media_type": media_type, "format": name, "charset": charset}
    return type(name, (BytesRenderer,), names)
