"""The route of `/v1/live`."""

from django.urls import path

from workers.api.live import views

urlpatterns = [path("live", views.Live.as_view())]
