"""Mount each app's routes; no views here."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from transcribe_platform import health, metrics, pages
from transcribe_platform.openapi import openapi
from transcribe_platform.problems import read_only
from workers.console.views import console

admin.autodiscover()
urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/", include("jobs.urls")),
    path("v1/", include("transcripts.urls")),
    path("v1/", include("workers.events.urls")),
    path("v1/", include("workers.sync.urls")),
    path("v1/", include("workers.live.urls")),
    path("v1/", include("workers.listen.urls")),
    path("v1/", include("workers.webhooks.urls")),
    path("v1/openapi.json", openapi),
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
    path("metrics", metrics.metrics),
]

handler400 = "transcribe_platform.problems.bad_request"
handler403 = "transcribe_platform.problems.permission_denied"
handler404 = "transcribe_platform.problems.not_found"
handler500 = "transcribe_platform.problems.server_error"
