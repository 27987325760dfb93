"""Admin pages that need more than one package: a job, with all that hangs on it."""

from django.contrib import admin

from jobs import admin_steering
from jobs.admin import JobAdmin
from jobs.admin_actions import confirmed
from jobs.models import Job
from workers.webhooks.admin_steering import REPLAY_JOB


@admin.register(Job)
class JobPage(JobAdmin):
    """Jobs, and the page of one."""

    actions = (*admin_steering.OF_JOBS, confirmed(REPLAY_JOB))
