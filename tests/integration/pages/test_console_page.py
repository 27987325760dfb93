"""/console/ as it is served: what it may load, and that all it names is there."""

import re

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client

from tests.support.html_pages import Reader

FOLDER = settings.BASE_DIR / "workers" / "console" / "static" / "console"
SCRIPTS = sorted(FOLDER.rglob("*.js"))


def test_it_may_load_scripts_styles_sockets_and_its_own_sounds_from_here_alone():
    answer = Client().get("/console/")

    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; media-src blob:; form-action 'none'; base-uri 'none';"
        " frame-ancestors 'none'"
    )
    assert answer.headers["Permissions-Policy"].startswith("microphone=(self)")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "Set-Cookie" not in answer.headers


def test_it_has_no_script_or_style_in_it_and_names_only_files_that_are_here():
    page = Client().get("/console/").content.decode()
    tags = Reader(page).tags
    named = [a.get("src") or a.get("href") for t, a in tags if t in {"script", "link"}]

    assert re.findall(r"<script[^>]*>(?!</script>)", page) == []
    assert not [a for _, a in tags if "style" in a or [n for n in a if n[:2] == "on"]]
    for path in named:
        assert finders.find(path.removeprefix("/static/")), path


def test_without_its_slash_it_is_found_too():
    assert Client().get("/console").headers["Location"] == "/console/"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda it: it.name)
def test_a_script_imports_files_that_are_here_and_makes_no_markup_of_text(script):
    source = script.read_text()

    for name in re.findall(r'from "([^"]+)"|new URL\("([^"]+)"', source):
        assert (script.parent / "".join(name)).is_file(), name
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(", source)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg|example\.com)", source)
    assert len(source.splitlines()) < 400
