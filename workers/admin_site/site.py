"""The admin site, with the dashboard as its index page."""

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

# Id, title and subtitle.
PANELS = [
    ("jobs", "Jobs per minute", "ended jobs by outcome, last hour"),
    ("latency", "Time to result", "submission to end, completed jobs"),
    ("backlog", "Queue", "hours of audio by tenant and priority"),
    ("regions", "Regions", "permits in use against limits"),
    ("workers", "Workers", "slots in use"),
    ("webhooks", "Slowest webhook targets", "last hour"),
    ("tenants", "Top tenants", "today, by audio duration"),
    ("cost", "Cost by hour", "today in UTC, by the price list"),
]
# The name of Django's URL to an object on the public site.
_SITE = "view_on_site"


class OperatorsSite(AdminSite):
    """Django's admin site with the dashboard, operator links and the user's role."""

    site_header = "Transcription platform"
    site_title = "Operators"
    index_title = "Overview"
    index_template = "operators/dashboard.html"
    site_url = None

    def get_urls(self) -> list[Any]:
        """Add the URLs of the dashboard's statistics."""
        own = [
            path(
                "figures/now/",
                self._statistics_view(admin_site_statistics.read_now),
                name="figures_now",
            ),
            path(
                "figures/today/",
                self._statistics_view(admin_site_statistics.read_today),
                name="figures_today",
            ),
        ]
        # No model has a public page, and the pattern of that URL, `r/<path>/<path>/`,
        # takes quadratic time on a long path.
        inherited = [
            url for url in super().get_urls() if getattr(url, "name", "") != _SITE
        ]
        return [*own, *inherited]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the dashboard; its script fetches the statistics."""
        return super().index(request, {**(extra_context or {}), "panels": PANELS})

    def _statistics_view(self, read: Callable[[], dict[str, Any]]) -> Any:
        """Return a JSON view for users with `jobs.view_job`."""

        @require_safe
        def view(request: HttpRequest) -> HttpResponse:
            if not request.user.has_perm("jobs.view_job"):
                raise PermissionDenied
            response = JsonResponse(read())
            response.headers["Cache-Control"] = "no-store"
            return response

        return self.admin_view(view)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Add the user's role and the links to the context of every page."""
        user = request.user
        role = "" if user.is_anonymous else roles.get_role_name(user)
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
