"""Admin pages that need more than one package: a job, with all that hangs on it."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone

from jobs.admin import steering as admin_steering
from jobs.admin.actions import build_action
from jobs.admin.base import actor_of
from jobs.admin.pages import JobAdmin
from jobs.api.jobs.serializers import without_query
from jobs.models import Job
from workers.admin_site.job_page import chart, timeline, views
from workers.webhooks.admin_steering import REPLAY_JOB

# What is only refused of a job that has ended, and of one that has not.
_OF_OPEN = frozenset({"cancel", "reprioritize"})
_OF_ENDED = frozenset({"retry", "erase"})


@admin.register(Job)
class JobPageAdmin(JobAdmin):
    """Jobs, and the page of one."""

    actions = (*admin_steering.OF_JOBS, build_action(REPLAY_JOB))
    change_form_template = "admin/jobs/job/page.html"

    def get_urls(self) -> list[URLPattern]:
        """Add what a job's page plays and shows."""
        return [
            path(
                "<uuid:job_id>/audio/",
                self._let_in(views.JobPageAudio.as_view()),
                name="jobs_job_audio",
            ),
            path(
                "<uuid:job_id>/transcript/",
                self._let_in(views.JobTranscript.as_view()),
                name="jobs_job_transcript",
            ),
            *super().get_urls(),
        ]

    def _let_in(self, view: Callable[..., HttpResponseBase]) -> Any:
        def guarded(request: HttpRequest, **ids: Any) -> HttpResponseBase:
            if not self.has_view_permission(request):
                raise PermissionDenied
            return view(request, actor=actor_of(request), **ids)

        return self.admin_site.admin_view(guarded)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,  # noqa: FBT001, FBT002  Django's own
        change: bool = False,  # noqa: FBT001, FBT002
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Gather what happened to the job."""
        gathered = timeline.gather(obj)
        of_no_use = _OF_OPEN if obj.is_final else _OF_ENDED
        buttons = [
            found[1:]
            for found in self.get_actions(request).values()
            if found and found[1] not in of_no_use
        ]
        context |= {
            "title": f"Job {obj.pk}",
            "subtitle": None,
            "job": obj,
            "facts": gathered,
            "charts": chart.build_charts(gathered, now=timezone.now()),
            "source": without_query(obj.audio_url),
            "callback": without_query(obj.callback_url),
            "sent": {
                "Options": _pretty(obj.options),
                "Metadata": _pretty(obj.metadata),
                "Route": _pretty(obj.route),
            },
            "buttons": buttons,
            "has_audio": bool(obj.upload) and not obj.erased_at,
            "has_transcript": obj.status == "completed" and not obj.erased_at,
        }
        return super().render_change_form(
            request, context, add=add, change=change, form_url=form_url, obj=obj
        )


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""
