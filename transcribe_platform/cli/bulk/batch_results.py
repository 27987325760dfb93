"""Fetch what came out of a batch into a folder: transcripts, and two lists of jobs.

All at once as an archive where many are wanted, one by one where few are. Files that
are there already are not fetched again, so that the same command goes on where it was
stopped: a transcript does not change, nor does the name of its file.
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
from transcribe_platform.cli.bulk import progress as bars
from transcribe_platform.cli.session import Session
from transcribe_platform.client.errors import Erased, NotFound, Unreachable
from transcribe_platform.client.shapes import BatchResult

_UNSAFE = re.compile(r"[^\w.@+=-]+")
_LONGEST_NAME = 100
# Fewer than these are fetched one by one, and so is a small part of a large batch.
_FEW = 20
_SMALL_PART = 10
_REJECTED = "rejected"
_MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """How many files there are, jobs without one, and lines that became no job."""

    files: int
    failed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A transcript, where it goes, and whether it is kept still."""

    job_id: str
    target: PurePosixPath
    is_kept: bool


def fetch_results(
    session: Session, batch_id: str, *, out: Path, formats: Sequence[str], parallel: int
) -> Fetched:
    """Write transcripts, `results.jsonl` and `errors.jsonl`; raises ClientError."""
    out.mkdir(parents=True, exist_ok=True)
    failed, skipped = _write_errors(session, batch_id, out)
    with TemporaryFile("w+", encoding="utf-8") as lines:
        wanted = _list_results(session, batch_id, lines)
        progress = bars.build_progress()
        if session.shows_progress:
            bars.show(session, progress)
        try:
            fetch = _Fetch(session, batch_id, out, progress, parallel)
            for name in formats:
                fetch.get_all(wanted, name)
        finally:
            if session.shows_progress:
                bars.hide(session, progress)
        files, empty = _write_results(lines, wanted, out, formats)
    return Fetched(files=files, failed=failed + empty, skipped=skipped)


def say_fetched(session: Session, fetched: Fetched) -> None:
    """Tell how much there is."""
    if session.as_json:
        session.emit({"type": "fetched", **asdict(fetched)})
        return
    session.say(
        f"{fetched.files} files, {fetched.failed} jobs without a result, "
        f"{fetched.skipped} bad lines left out."
    )


def _write_errors(session: Session, batch_id: str, out: Path) -> tuple[int, int]:
    """Write `errors.jsonl`; return how many jobs and how many bad lines it names."""
    failed, skipped = 0, set[int | None]()
    with outputs.whole_file(out / "errors.jsonl") as file:
        for error in session.client.batches.errors(batch_id):
            _write_line(file, error)
            if error["status"] == _REJECTED:
                skipped.add(error["line"])
            else:
                failed += 1
    return failed, len(skipped)


def _list_results(session: Session, batch_id: str, lines: IO[str]) -> list[_Wanted]:
    """Keep the list of results as it comes; return what there is to fetch."""
    found = []
    for result in session.client.batches.results(batch_id):
        _write_line(lines, result)
        is_kept = result["transcript_url"] is not None
        found.append((result["job_id"], _stem_of(result), is_kept))
    # Alike also for file systems that know no capitals.
    taken = Counter(stem.casefold() for _, stem, _ in found)
    return [
        _Wanted(
            job_id,
            PurePosixPath(_own(stem, job_id, taken[stem.casefold()])),
            is_kept,
        )
        for job_id, stem, is_kept in found
    ]


def _write_results(
    lines: IO[str], wanted: Sequence[_Wanted], out: Path, formats: Sequence[str]
) -> tuple[int, int]:
    """Write `results.jsonl`; return how many files there are, and jobs without one."""
    files = empty = 0
    lines.seek(0)
    with outputs.whole_file(out / "results.jsonl") as file:
        for line, each in zip(lines, wanted, strict=True):
            paths = [outputs.path_of(out, each.target, name) for name in formats]
            names = [str(path.relative_to(out)) for path in paths if path.exists()]
            files, empty = files + len(names), empty + (not names)
            _write_line(file, {**json.loads(line), "files": names})
    return files, empty


class _Fetch:
    """Fetches transcripts of one batch into one folder."""

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

    def get_all(self, wanted: Sequence[_Wanted], name: str) -> None:
        """Write those that are not there yet, in one format."""
        paths = {
            each.job_id: outputs.path_of(self._out, each.target, name)
            for each in wanted
            if each.is_kept
        }
        missing = {job: path for job, path in paths.items() if not path.exists()}
        task = self._progress.add_task(
            name, total=len(paths), completed=len(paths) - len(missing), unit="jobs"
        )
        advance = self._progress.advance
        if len(missing) > max(_FEW, len(wanted) // _SMALL_PART):
            for job_id in self._get_archived(missing, name):
                del missing[job_id]
                advance(task)
        for _ in self._get_singly(missing, name):
            advance(task)

    def _get_archived(self, missing: dict[str, Path], name: str) -> Iterable[str]:
        """Write those that the archive has; yield their jobs."""
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
                message = "The archive broke off before it was complete."
                raise Unreachable(message) from error
            for line in archive.read(_MANIFEST).splitlines():
                entry = json.loads(line)
                path = missing.get(entry["job_id"])
                if path and entry["file"]:
                    outputs.write_whole(path, archive.read(entry["file"]))
                    yield entry["job_id"]

    def _get_singly(self, missing: dict[str, Path], name: str) -> Iterable[None]:
        def get(job_id: str) -> None:
            try:
                content = self._session.client.transcripts.read(job_id, name)
            except (Erased, NotFound):
                return
            outputs.write_whole(missing[job_id], content)

        with ThreadPoolExecutor(self._parallel) as pool:
            try:
                yield from pool.map(get, missing)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _stem_of(result: BatchResult) -> str:
    """Return what the customer calls it, else the URL's last part and the job's id."""
    own = result["custom_id"]
    if own:
        return _UNSAFE.sub("_", own)[:_LONGEST_NAME].lstrip(".") or "_"
    path = unquote(urlsplit(result["audio_url"] or "").path)
    stem = _UNSAFE.sub("_", PurePosixPath(path).stem)[:_LONGEST_NAME].lstrip(".")
    return f"{stem or 'audio'}-{result['job_id'][-12:]}"


def _own(stem: str, job_id: str, taken: int) -> str:
    return stem if taken == 1 else f"{stem}-{job_id[-12:]}"


def _write_line(file: IO[str], said: object) -> None:
    file.write(json.dumps(said, ensure_ascii=False) + "\n")
