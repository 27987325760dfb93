"""The site of the admin pages: its first page is the dashboard."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from workers.operators import roles


class OperatorsSite(AdminSite):
    """Django's own but for its name, its first page, and saying who may what."""

    site_header = "Transcription platform"
    site_title = "Operators"
    index_title = "Overview"
    site_url = None

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Say in which role the user is here, on every page."""
        user = request.user
        role = "" if user.is_anonymous else roles.name_role_of(user)
        links = [
            {"name": "Console", "url": "/console/"},
            {"name": "API", "url": "/docs"},
        ]
        return {**super().each_context(request), "role": role, "operator_links": links}
