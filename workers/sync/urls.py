"""The route of the one front door."""

from django.urls import path

from workers.sync import views

urlpatterns = [path("transcribe", views.Transcribe.as_view())]
