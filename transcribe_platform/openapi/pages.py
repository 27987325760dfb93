"""The public pages /docs and /problems.

They render the OpenAPI document and the error codes, without scripts or external files,
so that they work without a network.
"""

from functools import cache
from threading import Lock
from typing import Any

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
    """Redirect to the icon, for pages that name none."""
    response = redirect(static("platform/icon.svg"))
    response.headers["Cache-Control"] = "max-age=86400"
    return response


@read_only
def front(_request: HttpRequest) -> HttpResponse:
    """Redirect the root URL to /docs."""
    return redirect("/docs")


@read_only
def docs(_request: HttpRequest) -> HttpResponse:
    """Show all operations of the API."""
    with _making:
        page = _make_docs()
    return HttpResponse(page)


@read_only
def problems(request: HttpRequest) -> HttpResponse:
    """List all error codes."""
    kinds = list(PROBLEMS.values())
    context = {
        "requests": [kind for kind in kinds if kind.status],
        "outcomes": [kind for kind in kinds if not kind.status],
    }
    return render(request, "platform/problems.html", context)


@read_only
def problem(request: HttpRequest, code: str) -> HttpResponse:
    """Explain one error code."""
    if code not in PROBLEMS:
        raise Http404
    return render(request, "platform/problem.html", {"kind": PROBLEMS[code]})


@cache
def _make_docs() -> bytes:
    """Return the page, which takes 50 ms to render and is the same for all readers."""
    document = get_document()
    groups: list[dict[str, Any]] = read_groups(document)
    context = {"document": document, "groups": groups}
    return render_to_string("platform/docs.html", context).encode()
