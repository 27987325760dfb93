"""What a command line names: files, folders, patterns, URLs, manifests."""

import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import click

_AUDIO = re.compile(
    r"\.(3gp|aac|aiff?|amr|au|avi|caf|flac|m4[abv]|mk[av]|mov|mp[234]|mpe?g|mxf|og[ag]"
    r"|opus|ts|wav|web[am]|wm[av])$",
    re.IGNORECASE,
)
_MANIFEST = re.compile(r"\.(jsonl|ndjson|csv)(\.gz)?$", re.IGNORECASE)
_URL = re.compile(r"https?://", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w.-]+")


_NOWHERE = PurePosixPath()


class Kind(StrEnum):
    """Where audio comes from."""

    FILE = "file"
    URL = "url"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One of them: ``name`` is what people see, ``target`` where its results go.

    The target is relative, without the ending that a format gives it.
    """

    kind: Kind
    name: str
    path: Path = Path()
    size_bytes: int = 0
    target: PurePosixPath = _NOWHERE


def find_sources(words: Sequence[str]) -> list[Source]:
    """Return what the words name, each once; raises UsageError for what is not."""
    found: dict[str, Source] = {}
    for word in words:
        for source in _find(word):
            place = source.name if source.kind is Kind.URL else str(_real(source.path))
            found.setdefault(place, source)
    return _with_own_targets(list(found.values()))


def _find(word: str) -> Iterator[Source]:
    if _URL.match(word):
        last = PurePosixPath(unquote(urlsplit(word).path)).name
        stem = PurePosixPath(_UNSAFE.sub("_", last).strip(".") or "audio").stem
        yield Source(kind=Kind.URL, name=word, target=PurePosixPath(stem))
        return
    path = Path(word)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.exists():
        yield _file(path, PurePosixPath(path.name))
    elif glob.has_magic(word):
        matches = [Path(match) for match in sorted(glob.glob(word, recursive=True))]  # noqa: PTH207  pathlib's takes no absolute patterns
        files = [match for match in matches if match.is_file()]
        if not files:
            raise click.UsageError(f"Nothing matches {word}")
        yield from (_file(match, PurePosixPath(match.name)) for match in files)
    else:
        raise click.UsageError(f"There is no file {word}")


def _in_folder(folder: Path) -> Iterator[Source]:
    inside = [
        path
        for path in sorted(folder.rglob("*"))
        if _AUDIO.search(path.name)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not inside:
        raise click.UsageError(f"There is no audio in the folder {folder}")
    for path in inside:
        yield _file(path, PurePosixPath(path.relative_to(folder).as_posix()))


def _file(path: Path, relative: PurePosixPath) -> Source:
    kind = Kind.MANIFEST if _MANIFEST.search(path.name) else Kind.FILE
    try:
        size = path.stat().st_size
    except OSError:
        size = 0  # reading it will say why
    return Source(
        kind=kind,
        name=str(path),
        path=path,
        size_bytes=size,
        target=relative.with_suffix(""),
    )


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def _with_own_targets(sources: list[Source]) -> list[Source]:
    """Give those that would write the same file names of their own."""
    taken = Counter(source.target for source in sources)
    given: Counter[PurePosixPath] = Counter()
    named = []
    for source in sources:
        target = source.target
        if taken[target] > 1 and source.kind is not Kind.URL:
            target = target.with_name(target.name + source.path.suffix)
        given[target] += 1
        if given[target] > 1:
            target = target.with_name(f"{target.name}-{given[target]}")
        named.append(replace(source, target=target))
    return named
