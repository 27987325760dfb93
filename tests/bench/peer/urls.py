"""The peer's routes."""

from django.urls import path

from tests.bench.peer.views import JobList

urlpatterns = [path("v1/jobs", JobList.as_view())]
