"""Routes of the transcripts API."""

from django.urls import path

from transcripts.api import views
from transcripts.results import views as results
from transcripts.search.api import views as search_views

urlpatterns = [
    path("batches/<uuid:batch_id>/results", results.BatchResults.as_view()),
    path("batches/<uuid:batch_id>/errors", results.BatchErrors.as_view()),
    path("batches/<uuid:batch_id>/transcripts.zip", results.BatchArchive.as_view()),
    path("transcripts", search_views.TranscriptList.as_view()),
    path("transcripts/<uuid:job_id>", views.TranscriptDetail.as_view()),
    path("transcripts/<uuid:job_id>/links", views.TranscriptLinks.as_view()),
]
