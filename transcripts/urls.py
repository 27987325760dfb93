"""Routes of the transcripts API."""

from django.urls import path

from transcripts import search_views, views

urlpatterns = [
    path("transcripts", search_views.TranscriptList.as_view()),
    path("transcripts/<uuid:job_id>", views.TranscriptDetail.as_view()),
    path("transcripts/<uuid:job_id>/links", views.TranscriptLinks.as_view()),
]
