"""The search endpoint."""

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.models import Mode
from jobs.rest.openapi import PAGE_PARAMETERS, document, query_parameter
from jobs.rest.pagination import respond_rows, serialize_rows
from jobs.rest.serializers import METADATA_LENGTH
from jobs.rest.views import ApiView, get_tenant
from transcripts.search import hits
from transcripts.search import ranking as search_ranking
from transcripts.search.api.serializers import HitOutput, HitPage
from transcripts.search.languages import LANGUAGE
from transcripts.search.parameters import SearchQuery
from transcripts.search.query_language import MAX_LENGTH


class TranscriptList(ApiView):
    """A tenant's transcripts."""

    required_scopes = {"GET": "jobs:read"}

    @document(
        "search_transcripts",
        HitPage,
        parameters=[
            query_parameter(
                "q",
                {"type": "string", "maxLength": MAX_LENGTH},
                description='Search query: words, `"phrases"`, `-exclusions`, `OR`,'
                " `prefix*`.",
            ),
            *PAGE_PARAMETERS,
            query_parameter("batch_id", OpenApiTypes.UUID),
            query_parameter("mode", enum=list(Mode)),
            query_parameter(
                "language",
                {"type": "string", "pattern": f"^{LANGUAGE.pattern}$"},
                description="`en` matches all English, `en-GB` only itself.",
            ),
            query_parameter("created_after", OpenApiTypes.DATETIME),
            query_parameter("created_before", OpenApiTypes.DATETIME),
            query_parameter(
                "min_confidence", {"type": "number", "minimum": 0, "maximum": 1}
            ),
            query_parameter(
                "metadata.{key}",
                {"type": "string", "maxLength": METADATA_LENGTH},
                description="Only transcripts of jobs with this metadata value.",
            ),
        ],
    )
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
