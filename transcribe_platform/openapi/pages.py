"""The pages that explain the API: /docs and /problems. Read only, without a key.

Made of the OpenAPI document and the table of problems; no script, nothing from
elsewhere, so that they work on a machine without a network.
"""

from functools import cache
from threading import Lock
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static

from transcribe_platform.api_errors.problem_table import PROBLEMS
from transcribe_platform.api_errors.problems import read_only
from transcribe_platform.openapi.docs_pages import read_groups
from transcribe_platform.openapi.document import get_document

# Of two first readers one makes the page.
_making = Lock()


@read_only
def favicon(_request: HttpRequest) -> HttpResponse:
    """Lead browsers that look for an icon where no page names one to ours."""
    answer = redirect(static("platform/icon.svg"))
    answer.headers["Cache-Control"] = "max-age=86400"
    return answer


@read_only
def front(_request: HttpRequest) -> HttpResponse:
    """Lead whoever types the bare address to what is here."""
    return redirect("/docs")


@read_only
def docs(_request: HttpRequest) -> HttpResponse:
    """Show every operation of the API."""
    with _making:
        page = _make_docs()
    return HttpResponse(page)


@read_only
def problems(request: HttpRequest) -> HttpResponse:
    """List every code."""
    kinds = list(PROBLEMS.values())
    context = {
        "requests": [it for it in kinds if it.status],
        "outcomes": [it for it in kinds if not it.status],
    }
    return render(request, "platform/problems.html", context)


@read_only
def problem(request: HttpRequest, code: str) -> HttpResponse:
    """Explain one code."""
    if code not in PROBLEMS:
        raise Http404
    return render(request, "platform/problem.html", {"kind": PROBLEMS[code]})


@cache
def _make_docs() -> bytes:
    """Return the page, the same for every reader: to make it takes 50 ms."""
    document = get_document()
    groups: list[dict[str, Any]] = read_groups(document)
    context = {"document": document, "groups": groups, "base_url": settings.BASE_URL}
    return render_to_string("platform/docs.html", context).encode()
