"""Which form an answer takes, where there are several."""

from collections.abc import Iterable

from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from jobs.rest.views import HeaderNegotiation, refuse_parameter


class FormatNegotiation(HeaderNegotiation):
    """Let ``?format=`` win over ``Accept``, for addresses that are passed around."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer of that format; raises InvalidRequest for an unknown."""
        wanted = request.query_params.get("format")
        if wanted is None:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(
                request, renderers, format_suffix
            )
            return chosen
        known = {each.format: each for each in renderers}
        if wanted not in known:
            refuse_parameter("format", f"This is one of {', '.join(known)}.")
        return known[wanted], known[wanted].media_type
