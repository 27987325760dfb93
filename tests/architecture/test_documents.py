"""Links and paths in README.md and docs/ lead to something that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("jobs", "transcripts", "workers", "transcribe_platform")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(
    r"`((?:jobs|transcripts|workers|transcribe_platform|tests|deploy)/[\w./-]+)`"
)


def prose_of(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.M)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for link in _LINK.findall(prose_of(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link or path.startswith("/"):
            continue
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("name", ["architecture", "contributing"])
def test_every_path_that_a_developer_reads_exists(name):
    named = _PATH.findall((ROOT / "docs" / f"{name}.md").read_text())

    assert len(named) > 1
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_architecture_page_lists_every_folder_with_its_docstring():
    page = (ROOT / "docs" / "architecture.md").read_text()
    listed = dict(re.findall(r"^\| `([\w/]+)` \| (\S.*) \|$", page, re.M))
    folders = {
        str(path.parent.relative_to(ROOT)): ast.get_docstring(
            ast.parse(path.read_text())
        ).splitlines()[0]
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
        if not {"migrations", "management"} & set(path.parts)
    }

    assert {name: listed[name] for name in listed if "." not in name} == folders
