import pytest
from django.http import HttpResponse
from django.urls import resolve
from prometheus_client import REGISTRY

from tests.support.routes import api_routes
from transcribe_platform.middleware.form_bodies import (
    ANONYMOUS_FORM_BYTES,
    FormBodyMiddleware,
)
from transcribe_platform.middleware.pages import (
    PageAuthenticationMiddleware,
    PageMessageMiddleware,
    PageSessionMiddleware,
)
from transcribe_platform.middleware.request_metrics import RequestMetricsMiddleware


def build_chain(view):
    chain = PageMessageMiddleware(view)
    return PageSessionMiddleware(PageAuthenticationMiddleware(chain))


@pytest.mark.parametrize(
    ("path", "has_session"), [("/v1/jobs", False), ("/admin/", True), ("/v1", True)]
)
def test_only_pages_have_a_session_and_an_operator(rf, path, has_session):
    seen = []

    def view(request):
        seen.append(request)
        return HttpResponse()

    build_chain(view)(rf.get(path))

    (request,) = seen
    assert hasattr(request, "session") is has_session
    assert hasattr(request, "user") is has_session
    assert hasattr(request, "_messages") is has_session


def test_no_view_of_the_api_needs_a_csrf_cookie():
    """Without sessions the API cannot be called by another site's form."""
    for route in api_routes():
        view = resolve(route.path()).func
        assert view.csrf_exempt, route.template


def test_a_large_form_without_an_operator_is_refused(rf):
    request = rf.post("/v1/openapi.json", {"a": "x" * (ANONYMOUS_FORM_BYTES + 1)})

    answer = FormBodyMiddleware(HttpResponse).process_view(request, object(), (), {})

    assert answer is not None
    assert answer.status_code == 413


def test_requests_are_counted_by_their_own_labels(rf):
    def count(status, method):
        labels = {"status": status, "view": "<unnamed view>", "method": method}
        name = "django_http_responses_total_by_status_view_method_total"
        return REGISTRY.get_sample_value(name, labels) or 0

    wanted = [("200", "GET"), ("404", "GET"), ("200", "POST")]
    before = [count(*each) for each in wanted]

    for status, method in [*wanted, *wanted, ("404", "GET")]:
        answer = HttpResponse(status=int(status))
        middleware = RequestMetricsMiddleware(lambda _request, answer=answer: answer)
        middleware(rf.generic(method, "/"))
    shared = RequestMetricsMiddleware(lambda _request: HttpResponse())
    for method in ("GET", "POST", "GET"):
        shared(rf.generic(method, "/"))

    after = [count(*each) for each in wanted]
    assert [b - a for a, b in zip(before, after, strict=True)] == [4, 3, 3]
