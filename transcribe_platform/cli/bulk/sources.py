"""Finds the sources of a command: files, folders, patterns, URLs, manifests."""

import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import click

# The usual extensions of the formats that the platform reads.
_AUDIO = re.compile(
    r"\.(3g[2p]|aac|ac3|aif[cf]?|amr|ape|asf|au|avi|caf|divx|dsf|dts|e?ac-?3|ec3|f4[av]"
    r"|flac|flv|gsm|m1[av]|m2[av]|m2ts?|m4[abprv]|mk[av]|mk3d|mov|mp[1234acp]|mp[+]"
    r"|mpe?g[a4v]?|mpe|mts|mxf|oga|ogg|ogm|ogv|ogx|opus|qt|r[am]|rmvb|snd|spx|tak|ts|tta"
    r"|vob|voc|w64|wav|wave|web[am]|wm[av]|wtv|wv)$",
    re.IGNORECASE,
)
_MANIFEST = re.compile(r"\.(jsonl|ndjson|csv)(\.gz)?$", re.IGNORECASE)
_URL = re.compile(r"https?://", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w.-]+")


_NOWHERE = PurePosixPath()
# MPEG-TS begins with a sync byte, in some variants after a time of four bytes, and its
# first packet has bytes that no text has.
_TS_PACKET_BYTES = 192
_TS_SYNC = b"\x47"


class SourceKind(StrEnum):
    """The kinds of sources."""

    FILE = "file"
    URL = "url"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source. ``name`` is shown to the user.

    ``target`` is the relative path of its results, without the extension.
    """

    kind: SourceKind
    name: str
    path: Path = Path()
    size_bytes: int = 0
    target: PurePosixPath = _NOWHERE


def find_sources(
    arguments: Sequence[str], *, skipped: list[Path] | None = None
) -> list[Source]:
    """Return the sources of the arguments without duplicates; raises UsageError.

    Files of a folder that are not audio are added to ``skipped``.
    """
    found: dict[str, Source] = {}
    passed_over: list[Path] = [] if skipped is None else skipped
    for argument in arguments:
        for source in _find(argument, passed_over):
            identity = (
                source.name
                if source.kind is SourceKind.URL
                else str(_resolve(source.path))
            )
            found.setdefault(identity, source)
    return _make_targets_unique(list(found.values()))


def _find(argument: str, skipped: list[Path]) -> Iterator[Source]:
    if _URL.match(argument):
        last = PurePosixPath(unquote(urlsplit(argument).path)).name
        stem = PurePosixPath(_UNSAFE.sub("_", last).strip(".") or "audio").stem
        yield Source(kind=SourceKind.URL, name=argument, target=PurePosixPath(stem))
        return
    path = Path(argument)
    if path.is_dir():
        yield from _in_folder(path, skipped)
    elif path.exists():
        yield _file(path, PurePosixPath(path.name))
    elif glob.has_magic(argument):
        matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207  Path.glob rejects absolute patterns
        files = [match for match in matches if match.is_file()]
        if not files:
            raise click.UsageError(f"No file matches {argument}")
        yield from (_file(match, PurePosixPath(match.name)) for match in files)
    else:
        raise click.UsageError(f"File not found: {argument}")


def _in_folder(folder: Path, skipped: list[Path]) -> Iterator[Source]:
    paths: list[Path] = []
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if is_hidden or not path.is_file():
            continue
        (paths if _is_audio(path) else skipped).append(path)
    if not paths:
        raise click.UsageError(f"No audio file in the folder {folder}")
    for path in paths:
        yield _file(path, PurePosixPath(path.relative_to(folder).as_posix()))


def _is_audio(path: Path) -> bool:
    """Return whether a file has the name of audio or video, and is no TypeScript."""
    if not _AUDIO.search(path.name):
        return False
    if path.suffix.lower() != ".ts":
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_TS_PACKET_BYTES)
            return _TS_SYNC in {head[:1], head[4:5]} and not head.isascii()
    except OSError:
        return True  # the upload reports the error


def _file(path: Path, relative: PurePosixPath) -> Source:
    kind = SourceKind.MANIFEST if _MANIFEST.search(path.name) else SourceKind.FILE
    try:
        size = path.stat().st_size
    except OSError:
        size = 0  # the upload reports the error
    return Source(
        kind=kind,
        name=str(path),
        path=path,
        size_bytes=size,
        target=relative.with_suffix(""),
    )


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def _make_targets_unique(sources: list[Source]) -> list[Source]:
    """Rename targets that would write the same file."""
    uses = Counter(source.target for source in sources)
    assigned: Counter[PurePosixPath] = Counter()
    renamed = []
    for source in sources:
        target = source.target
        if uses[target] > 1 and source.kind is not SourceKind.URL:
            target = target.with_name(target.name + source.path.suffix)
        assigned[target] += 1
        if assigned[target] > 1:
            target = target.with_name(f"{target.name}-{assigned[target]}")
        renamed.append(replace(source, target=target))
    return renamed
