"""Routes of the webhooks API."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
