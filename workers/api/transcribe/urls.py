"""The route of `/v1/transcribe`."""

from django.urls import path

from workers.api.transcribe import views

urlpatterns = [path("transcribe", views.Transcribe.as_view())]
