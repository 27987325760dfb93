"""The search endpoint."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.rest.pagination import respond_rows, serialize_rows
from jobs.rest.views import ApiView, get_tenant
from transcripts.search import hits
from transcripts.search import ranking as search_ranking
from transcripts.search.api import openapi as search_schema
from transcripts.search.api.serializers import HitOutput
from transcripts.search.parameters import PARAMETERS, SearchQuery


class TranscriptList(ApiView):
    """A tenant's transcripts."""

    required_scopes = {"GET": "jobs:read"}
    query_parameters = {"GET": PARAMETERS}

    @extend_schema(**search_schema.SEARCH)
    def get(self, request: Request) -> Response:
        """Search transcripts.

        Best matches first. Without `q`, lists all transcripts, newest first.

        `q` accepts words (all must match), `"phrases"`, `-exclusions`, `OR` and
        `prefix*`. Words are compared by the rules of each transcript's language.
        """
        tenant = get_tenant(request)
        query = SearchQuery.parse(
            request.query_params, owner=tenant.pk, now=timezone.now()
        )
        page = search_ranking.find_page(
            tenant=tenant,
            filters=query.filters,
            position=query.position,
            limit=query.limit,
        )
        shown = hits.load_hits(page, words=bool(query.filters.words))
        rows = serialize_rows(shown, HitOutput)
        cursor = query.build_cursor(page.hits[-1]) if page.has_more else None
        return respond_rows(request, rows, cursor, is_capped=page.is_capped)
