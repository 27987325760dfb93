"""Routes of the jobs API."""

from django.urls import path, register_converter

from jobs.api import audit_views
from jobs.api.audio import views as audio_views
from jobs.api.jobs import views
from jobs.api.keys import views as key_views
from jobs.api.usage import views as usage_views
from jobs.batches.api import action_views, check_views
from jobs.batches.api import views as batch_views
from jobs.rest.path_converters import PublicIdConverter

register_converter(PublicIdConverter, "public_id")

urlpatterns = [
    path("api-keys", key_views.KeyList.as_view()),
    path("api-keys/<public_id:key_id>", key_views.KeyDetail.as_view()),
    path("api-keys/<public_id:key_id>/rotate", key_views.KeyRotation.as_view()),
    path("audit-events", audit_views.AuditEventList.as_view()),
    path("jobs", views.JobList.as_view()),
    path("jobs/<uuid:job_id>", views.JobDetail.as_view()),
    path("jobs/<uuid:job_id>/attempts", views.JobAttempts.as_view()),
    path("jobs/<uuid:job_id>/audio", audio_views.JobAudio.as_view()),
    path("jobs/<uuid:job_id>/cancel", views.JobCancel.as_view()),
    path("jobs/<uuid:job_id>/retry", views.JobRetry.as_view()),
    path("batches", batch_views.BatchList.as_view()),
    path("batches/check", check_views.BatchCheck.as_view()),
    path("batches/<uuid:batch_id>", batch_views.BatchDetail.as_view()),
    path("batches/<uuid:batch_id>/pause", action_views.BatchPause.as_view()),
    path("batches/<uuid:batch_id>/resume", action_views.BatchResume.as_view()),
    path("batches/<uuid:batch_id>/cancel", action_views.BatchCancel.as_view()),
    path("batches/<uuid:batch_id>/priority", action_views.BatchPriority.as_view()),
    path("batches/<uuid:batch_id>/retry", action_views.BatchRetry.as_view()),
    path("usage", usage_views.UsageReport.as_view()),
    path("usage/quotas", usage_views.Quotas.as_view()),
    path("me", key_views.Me.as_view()),
]
