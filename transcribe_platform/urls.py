"""Include the routes of each app."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from transcribe_platform import health, metrics_view
from transcribe_platform.api_errors.problems import read_only
from transcribe_platform.openapi import pages
from transcribe_platform.openapi.document import openapi
from workers.console.views import console

admin.autodiscover()
urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/", include("jobs.urls")),
    path("v1/", include("transcripts.urls")),
    path("v1/", include("workers.api.urls")),
    path("v1/", include("workers.webhooks.urls")),
    path("v1/openapi.json", openapi),
    path("", include("workers.api.listen.urls")),
    path("", pages.front),
    path("favicon.ico", pages.favicon),
    path("docs", pages.docs),
    path("problems", pages.problems),
    path("problems/<slug:code>", pages.problem),
    path("console/", read_only(console)),
    path("health", health.overview),
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("admin/", admin.site.urls),
    path("metrics", metrics_view.metrics),
]

handler400 = "transcribe_platform.api_errors.problems.bad_request"
handler403 = "transcribe_platform.api_errors.problems.permission_denied"
handler404 = "transcribe_platform.api_errors.problems.not_found"
handler500 = "transcribe_platform.api_errors.problems.server_error"
