"""The admin page of a job, which needs models of several packages."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone

from jobs.admin import operator_actions
from jobs.admin.base import get_operator_name
from jobs.admin.pages import JobAdmin
from jobs.api.jobs.serializers import strip_query
from jobs.models import Job
from jobs.scheduling import waiting
from workers.admin_site.job_page import chart, timeline, views
from workers.webhooks.operator_actions import REPLAY_JOB

# Actions that need an open job, and actions that need an ended job.
_NEEDS_OPEN = frozenset({"cancel", "reprioritize"})
_NEEDS_ENDED = frozenset({"retry", "erase"})


@admin.register(Job)
class JobPageAdmin(JobAdmin):
    """The list of jobs and the page of one job."""

    actions = (*operator_actions.OF_JOBS, REPLAY_JOB)
    change_form_template = "admin/jobs/job/page.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the URLs of a job's audio and transcript."""
        return [
            path(
                "<uuid:job_id>/audio/",
                self._require_view_permission(views.JobPageAudio.as_view()),
                name="jobs_job_audio",
            ),
            path(
                "<uuid:job_id>/transcript/",
                self._require_view_permission(views.JobTranscript.as_view()),
                name="jobs_job_transcript",
            ),
            *super().get_urls(),
        ]

    def _require_view_permission(self, view: Callable[..., HttpResponseBase]) -> Any:
        def guarded(request: HttpRequest, **ids: Any) -> HttpResponseBase:
            if not self.has_view_permission(request):
                raise PermissionDenied
            return view(request, actor=get_operator_name(request), **ids)

        return self.admin_site.admin_view(guarded)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,  # noqa: FBT001, FBT002  Django's signature
        change: bool = False,  # noqa: FBT001, FBT002
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add the job's timeline and actions to the context."""
        job_timeline = timeline.gather(obj)
        unavailable = _NEEDS_OPEN if obj.is_final else _NEEDS_ENDED
        buttons = [
            action[1:]
            for action in self.get_actions(request).values()
            if action and action[1] not in unavailable
        ]
        context |= {
            "title": f"Job {obj.pk}",
            "subtitle": None,
            "job": obj,
            "waiting": waiting.explain_wait(obj, now=timezone.now()),
            "timeline": job_timeline,
            "charts": chart.build_charts(job_timeline, now=timezone.now()),
            "source": strip_query(obj.audio_url),
            "callback": strip_query(obj.callback_url),
            "sent": {
                "Options": _format_json(obj.options),
                "Metadata": _format_json(obj.metadata),
                "Route": _format_json(obj.route),
            },
            "buttons": buttons,
            "has_audio": bool(obj.upload) and not obj.erased_at,
            "has_transcript": obj.status == "completed" and not obj.erased_at,
        }
        return super().render_change_form(
            request, context, add=add, change=change, form_url=form_url, obj=obj
        )


def _format_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""
