"""Routes of the jobs API."""

from django.urls import path

from jobs import batch_views, views

urlpatterns = [
    path("jobs", views.JobList.as_view()),
    path("jobs/<uuid:job_id>", views.JobDetail.as_view()),
    path("jobs/<uuid:job_id>/attempts", views.JobAttempts.as_view()),
    path("jobs/<uuid:job_id>/cancel", views.JobCancel.as_view()),
    path("jobs/<uuid:job_id>/retry", views.JobRetry.as_view()),
    path("batches", batch_views.BatchList.as_view()),
    path("batches/<uuid:batch_id>", batch_views.BatchDetail.as_view()),
    path("me", views.Me.as_view()),
]
