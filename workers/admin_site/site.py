"""The site of the admin pages: its first page is the dashboard."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_safe

from workers.admin_site import roles
from workers.admin_site import statistics as admin_site_statistics

# Id, title and what it shows.
PANELS = [
    ("jobs", "Jobs per minute", "ended, by outcome, last hour"),
    ("latency", "Time to result", "submit to end, completed jobs"),
    ("backlog", "Queue", "hours of audio by tenant and priority"),
    ("regions", "Regions", "permits in use against limits"),
    ("workers", "Workers", "slots in use"),
    ("webhooks", "Slowest webhook targets", "last hour"),
    ("tenants", "Top tenants", "today, by audio"),
    ("cost", "Cost by hour", "today in UTC, by the price list"),
]
# Django's route to an object on the customer's site.
_SITE = "view_on_site"


class OperatorsSite(AdminSite):
    """Django's own but for its name, its first page, and saying who may what."""

    site_header = "Transcription platform"
    site_title = "Operators"
    index_title = "Overview"
    index_template = "operators/dashboard.html"
    site_url = None

    def get_urls(self) -> list[Any]:
        """Add what the dashboard fetches."""
        own = [
            path(
                "figures/now/",
                self._figures(admin_site_statistics.read_now),
                name="figures_now",
            ),
            path(
                "figures/today/",
                self._figures(admin_site_statistics.read_today),
                name="figures_today",
            ),
        ]
        # No model here has a page of its own; and the pattern of that route,
        # `r/<path>/<path>/`, takes quadratic time on a long path.
        django = [it for it in super().get_urls() if getattr(it, "name", "") != _SITE]
        return [*own, *django]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the dashboard, empty: its script fetches the figures."""
        return super().index(request, {**(extra_context or {}), "panels": PANELS})

    def _figures(self, read: Callable[[], dict[str, Any]]) -> Any:
        """Return a view for those who may see jobs."""

        @require_safe
        def view(request: HttpRequest) -> HttpResponse:
            if not request.user.has_perm("jobs.view_job"):
                raise PermissionDenied
            answer = JsonResponse(read())
            answer.headers["Cache-Control"] = "no-store"
            return answer

        return self.admin_view(view)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Say in which role the user is here, on every page."""
        user = request.user
        role = "" if user.is_anonymous else roles.name_role_of(user)
        links = [
            {"name": "Console", "url": "/console/"},
            {"name": "API", "url": "/docs"},
            {"name": "Health", "url": "/health"},
        ]
        flower = settings.FLOWER_URL
        if flower and not user.is_anonymous:
            links.append({"name": "Flower", "url": flower})
        own = {"role": role, "operator_links": links, "flower_url": flower}
        return {**super().each_context(request), **own}
