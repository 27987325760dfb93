"""Routes of Deepgram's API, and of its paths that the platform does not serve."""

from django.urls import path, re_path

from workers.api.listen import management, views

_PROJECT = "v1/projects/<uuid:project_id>"
_DEEPGRAMS = "agent|auth|listen|models|onprem|projects|read|self-hosted|speak"

urlpatterns = [
    path("v1/listen", views.Listen.as_view()),
    path("v1/auth/grant", management.Grant.as_view()),
    path("v1/projects", management.Projects.as_view()),
    path(_PROJECT, management.Project.as_view()),
    path(f"{_PROJECT}/models", management.ProjectModels.as_view()),
    path(f"{_PROJECT}/models/<str:model>", management.ProjectModel.as_view()),
    path(f"{_PROJECT}/requests", management.Requests.as_view()),
    path(f"{_PROJECT}/requests/<uuid:request_id>", management.ProjectRequest.as_view()),
    path(f"{_PROJECT}/usage", management.ProjectUsage.as_view()),
    path(f"{_PROJECT}/balances", management.Balances.as_view()),
    re_path(
        rf"^v1/(?P<path>(?:{_DEEPGRAMS})(?:/.*)?)$", management.Elsewhere.as_view()
    ),
    path("v2/listen", views.ListenTurns.as_view()),
    re_path(r"^v2/(?P<path>.*)$", management.Elsewhere.as_view()),
]
