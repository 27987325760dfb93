"""Routes of the event streams."""

from django.urls import path

from workers.api.events import views

urlpatterns = [
    path("events", views.Events.as_view()),
    path("jobs/<uuid:job_id>/events", views.JobEvents.as_view()),
    path("batches/<uuid:batch_id>/events", views.BatchEvents.as_view()),
]
