"""Routes of the endpoints that call Deepgram or hold a connection open."""

from django.urls import path

from workers.api import models
from workers.api.events import views as events
from workers.api.live import views as live
from workers.api.openai import views as openai
from workers.api.transcribe import views as transcribe

urlpatterns = [
    path("transcribe", transcribe.Transcribe.as_view()),
    path("live", live.Live.as_view()),
    path("models", models.Models.as_view()),
    path("models/<str:model>", models.Model.as_view()),
    path("audio/transcriptions", openai.Transcriptions.as_view()),
    path("audio/<path:path>", openai.Unsupported.as_view()),
    path("events", events.Events.as_view()),
    path("jobs/<uuid:job_id>/events", events.JobEvents.as_view()),
    path("batches/<uuid:batch_id>/events", events.BatchEvents.as_view()),
]
