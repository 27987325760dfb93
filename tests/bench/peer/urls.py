"""The peer's routes."""

from django.urls import path

from tests.bench.peer.views import JobList, LeanJobList

urlpatterns = [
    path("v1/jobs", JobList.as_view()),
    path("v1/lean-jobs", LeanJobList.as_view()),
]
