"""Downloads the results of a batch: transcripts, `results.jsonl`, `errors.jsonl`.

Downloads many transcripts as an archive and few one by one. Skips files that exist, so
that a repeated command resumes: neither transcripts nor their file names change.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import unquote, urlsplit
from zipfile import BadZipFile, ZipFile

from rich.progress import Progress

from transcribe_platform.cli.bulk import outputs
from transcribe_platform.cli.bulk.progress import show_progress
from transcribe_platform.cli.session import Session
from transcribe_platform.client.errors import Erased, NotFound, Unreachable
from transcribe_platform.client.shapes import BatchResult

_UNSAFE = re.compile(r"[^\w.@+=-]+")
_MAX_NAME_LENGTH = 100
# Up to this many, or this share of a batch, are downloaded one by one.
_FEW = 20
_SMALL_PART = 10
_REJECTED = "rejected"
_MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The numbers of files, of jobs without a file, and of rejected lines."""

    files: int
    failed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class _Target:
    """A job, the target path of its transcript, and whether it is still stored."""

    job_id: str
    path: PurePosixPath
    is_stored: bool


def fetch_results(
    session: Session, batch_id: str, *, out: Path, formats: Sequence[str], parallel: int
) -> Fetched:
    """Write transcripts, `results.jsonl` and `errors.jsonl`; raises ClientError."""
    out.mkdir(parents=True, exist_ok=True)
    failed, skipped = _write_errors(session, batch_id, out)
    with TemporaryFile("w+", encoding="utf-8") as lines:
        targets = _list_results(session, batch_id, lines)
        with show_progress(session) as progress:
            downloader = _Downloader(session, batch_id, out, progress, parallel)
            for name in formats:
                downloader.get_all(targets, name)
        files, empty = _write_results(lines, targets, out, formats)
    return Fetched(files=files, failed=failed + empty, skipped=skipped)


def report_fetched(session: Session, fetched: Fetched) -> None:
    """Report the numbers."""
    if session.as_json:
        session.emit({"type": "fetched", **asdict(fetched)})
        return
    session.inform(
        f"{fetched.files} files, {fetched.failed} jobs without a result, "
        f"{fetched.skipped} bad lines skipped."
    )


def _write_errors(session: Session, batch_id: str, out: Path) -> tuple[int, int]:
    """Write `errors.jsonl`; return its numbers of jobs and of rejected lines."""
    failed, skipped = 0, set[int | None]()
    with outputs.open_atomically(out / "errors.jsonl") as file:
        for error in session.client.batches.errors(batch_id):
            _write_line(file, error)
            if error["status"] == _REJECTED:
                skipped.add(error["line"])
            else:
                failed += 1
    return failed, len(skipped)


def _list_results(session: Session, batch_id: str, lines: IO[str]) -> list[_Target]:
    """Write the results to `lines`; return the transcripts to download."""
    found = []
    for result in session.client.batches.results(batch_id):
        _write_line(lines, result)
        is_stored = result["transcript_url"] is not None
        found.append((result["job_id"], _build_stem(result), is_stored))
    # Case-insensitive file systems: names must differ in more than case.
    uses = Counter(stem.casefold() for _, stem, _ in found)
    return [
        _Target(
            job_id,
            PurePosixPath(_make_unique(stem, job_id, uses[stem.casefold()])),
            is_stored,
        )
        for job_id, stem, is_stored in found
    ]


def _write_results(
    lines: IO[str], targets: Sequence[_Target], out: Path, formats: Sequence[str]
) -> tuple[int, int]:
    """Write `results.jsonl`; return the numbers of files and of jobs without one."""
    files = empty = 0
    lines.seek(0)
    with outputs.open_atomically(out / "results.jsonl") as file:
        for line, target in zip(lines, targets, strict=True):
            paths = [outputs.build_path(out, target.path, name) for name in formats]
            names = [str(path.relative_to(out)) for path in paths if path.exists()]
            files, empty = files + len(names), empty + (not names)
            _write_line(file, {**json.loads(line), "files": names})
    return files, empty


class _Downloader:
    """Downloads the transcripts of one batch into one folder."""

    def __init__(
        self,
        session: Session,
        batch_id: str,
        out: Path,
        progress: Progress,
        parallel: int,
    ) -> None:
        self._session, self._batch_id, self._out = session, batch_id, out
        self._progress, self._parallel = progress, parallel

    def get_all(self, targets: Sequence[_Target], name: str) -> None:
        """Write the missing transcripts in one format."""
        paths = {
            target.job_id: outputs.build_path(self._out, target.path, name)
            for target in targets
            if target.is_stored
        }
        missing = {job: path for job, path in paths.items() if not path.exists()}
        task = self._progress.add_task(
            name, total=len(paths), completed=len(paths) - len(missing), unit="jobs"
        )
        advance = self._progress.advance
        if len(missing) > max(_FEW, len(targets) // _SMALL_PART):
            for job_id in self._get_archived(missing, name):
                del missing[job_id]
                advance(task)
        for _ in self._get_singly(missing, name):
            advance(task)

    def _get_archived(self, missing: dict[str, Path], name: str) -> Iterable[str]:
        """Write the transcripts of the archive; yield their job ids."""
        task = self._progress.add_task("download", total=None, unit="bytes")
        with TemporaryFile(dir=self._out) as file:
            self._session.client.batches.download(
                self._batch_id,
                name,
                file,
                progress=lambda number: self._progress.advance(task, number),
            )
            self._progress.remove_task(task)
            try:
                archive = ZipFile(file)
            except BadZipFile as error:
                message = "The download of the archive was interrupted."
                raise Unreachable(message) from error
            for line in archive.read(_MANIFEST).splitlines():
                entry = json.loads(line)
                path = missing.get(entry["job_id"])
                if path and entry["file"]:
                    outputs.write_atomically(path, archive.read(entry["file"]))
                    yield entry["job_id"]

    def _get_singly(self, missing: dict[str, Path], name: str) -> Iterable[None]:
        def get(job_id: str) -> None:
            try:
                content = self._session.client.transcripts.read(job_id, name)
            except (Erased, NotFound):
                return
            outputs.write_atomically(missing[job_id], content)

        with ThreadPoolExecutor(self._parallel) as pool:
            try:
                yield from pool.map(get, missing)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _build_stem(result: BatchResult) -> str:
    """Return the `custom_id`, or else the last part of the URL and of the job id."""
    custom_id = result["custom_id"]
    if custom_id:
        return _UNSAFE.sub("_", custom_id)[:_MAX_NAME_LENGTH].lstrip(".") or "_"
    path = unquote(urlsplit(result["audio_url"] or "").path)
    stem = _UNSAFE.sub("_", PurePosixPath(path).stem)[:_MAX_NAME_LENGTH].lstrip(".")
    return f"{stem or 'audio'}-{result['job_id'][-12:]}"


def _make_unique(stem: str, job_id: str, uses: int) -> str:
    return stem if uses == 1 else f"{stem}-{job_id[-12:]}"


def _write_line(file: IO[str], value: object) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
