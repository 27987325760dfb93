"""/docs and /problems: complete, without a script, and nothing from elsewhere."""

import json
import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from tests.support.api import assert_problem
from tests.support.html_pages import Reader
from transcribe_platform.api_errors.problem_table import PROBLEMS
from transcribe_platform.openapi import pages
from transcribe_platform.openapi.docs_pages import format_text

STRICT = "default-src 'none'; style-src 'self'; img-src 'self'"


def get(path):
    answer = Client().get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"].startswith(STRICT)
    return answer.content.decode()


PAGES = ["/docs", "/problems", *(f"/problems/{code}" for code in PROBLEMS)]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_and_loads_nothing_from_elsewhere(path):
    page = Reader(get(path))

    assert page.open == []
    assert not [tag for tag, _ in page.tags if tag in {"script", "iframe", "style"}]
    for tag, attributes in page.tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            assert attributes.get(name, "/").startswith(("/", "#")), (tag, attributes)


def test_the_docs_show_every_operation_of_the_document():
    document = json.loads(Client().get("/v1/openapi.json").content)
    page = get("/docs")
    ids = {attrs["id"] for _, attrs in Reader(page).tags if "id" in attrs}

    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["operationId"] in ids
            assert f"<code>{path}</code>" in page
    anchors = re.findall(r'href="#([^"]+)"', page)
    assert set(anchors) <= ids


def test_every_code_is_on_the_index():
    page = get("/problems")

    for code in PROBLEMS:
        assert f'href="/problems/{code}"' in page


def test_the_address_in_a_problem_leads_to_its_page(settings, db):
    settings.BASE_URL = "http://testserver"
    problem = json.loads(Client().get("/v1/me").content)

    page = get(problem["type"].removeprefix("http://testserver"))

    assert f"<h1>{problem['title']}</h1>" in page
    assert problem["code"] in page


def test_a_code_that_is_none_has_no_page():
    assert Client().get("/problems/nope").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/problems", "/problems/not_found", "/health/live", "/console/"],
)
@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
def test_a_page_is_only_read(path, method):
    answer = getattr(Client(), method)(path)

    assert assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_the_bare_address_leads_to_the_docs():
    answer = Client().get("/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/docs")


def test_text_is_escaped():
    html = format_text("<b> & `<i>`\n\n- a `b`\n- <c>\n\n## <d>")

    assert html == (
        "<p>&lt;b&gt; &amp; <code>&lt;i&gt;</code></p>\n"
        "<ul>\n<li>a <code>b</code></li>\n<li>&lt;c&gt;</li>\n</ul>\n"
        "<h2>&lt;d&gt;</h2>\n"
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/static/platform/pages.css", "text/css"),
        ("/static/platform/icon.svg", "image/svg+xml"),
        ("/static/admin/css/base.css", "text/css"),
        ("/static/console/base.css", "text/css"),
        ("/static/console/app.js", "text/javascript"),
    ],
)
def test_files_are_served(path, kind):
    answer = Client().get(path)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content
    tag = answer.headers["Last-Modified"]
    again = Client().get(path, headers={"If-Modified-Since": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_part_of_a_file_is_served():
    answer = Client().get("/static/platform/icon.svg", headers={"Range": "bytes=0-3"})

    assert (answer.status_code, answer.content) == (206, b"<svg")


@pytest.mark.parametrize("path", ["/static/nope.css", "/static/../manage.py"])
def test_no_other_file_is_served(path):
    assert Client().get(path).status_code == 404


def test_a_browser_that_looks_for_an_icon_by_itself_finds_ours():
    answer = Client().get("/favicon.ico")

    assert answer.status_code == 302
    assert answer.headers["Location"] == "/static/platform/icon.svg"
    assert finders.find("platform/icon.svg")
    assert Client().post("/favicon.ico").status_code == 405


def test_the_page_of_operations_is_made_once(client):
    pages._make_docs.cache_clear()

    first, second = client.get("/docs"), client.get("/docs")

    assert pages._make_docs.cache_info().misses == 1
    assert first.content == second.content
