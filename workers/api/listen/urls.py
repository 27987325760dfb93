"""Routes of the Deepgram-compatible API."""

from django.urls import path

from workers.api.listen import views

urlpatterns = [
    path("listen", views.Listen.as_view()),
    path("projects", views.Projects.as_view()),
    path("projects/<uuid:project_id>", views.Project.as_view()),
]
