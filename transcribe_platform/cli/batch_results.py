"""Fetch what came out of a batch into a folder: transcripts, and two lists of jobs.

Files that are there already are not fetched again, so that the same command goes on
where it was stopped: a transcript does not change.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from transcribe_platform.cli import bars, outputs
from transcribe_platform.cli.session import Session
from transcribe_platform.client.errors import Erased
from transcribe_platform.client.shapes import FINAL, Job

_UNSAFE = re.compile(r"[^\w.@+=-]+")
_LONGEST_NAME = 100
_AHEAD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """How much there is now, and what was there before."""

    files: int
    failed: int


def fetch_results(
    session: Session, batch_id: str, *, out: Path, formats: Sequence[str], parallel: int
) -> Fetched:
    """Write transcripts, `results.jsonl` and `errors.jsonl`; raises ClientError."""
    out.mkdir(parents=True, exist_ok=True)
    counts = session.client.batches.get(batch_id)["counts"]
    progress = bars.build_progress()
    task = progress.add_task("fetch", total=counts["completed"], unit="jobs")
    files = failed = 0
    if session.shows_progress:
        bars.show(session, progress)
    pool = ThreadPoolExecutor(parallel)
    results, errors = _open(out / "results.jsonl"), _open(out / "errors.jsonl")
    try:
        jobs = session.client.jobs.iterate(batch_id=batch_id)

        def fetch(job: Job) -> list[Path]:
            return _fetch(session, job, out, formats)

        for job, paths in _in_order(pool, fetch, _ended(jobs)):
            if job["status"] != "completed" or not paths:
                failed += 1
                _write(errors, job, error=job["error"])
                continue
            files += len(paths)
            progress.advance(task)
            names = [str(path.relative_to(out)) for path in paths]
            _write(results, job, files=names)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if session.shows_progress:
            bars.hide(session, progress)
    for file in (results, errors):
        _close(file)
    return Fetched(files=files, failed=failed)


def _ended(jobs: Iterator[Job]) -> Iterator[Job]:
    return (job for job in jobs if job["status"] in FINAL)


def _in_order(
    pool: ThreadPoolExecutor,
    fetch: Callable[[Job], list[Path]],
    jobs: Iterator[Job],
) -> Iterator[tuple[Job, list[Path]]]:
    """Fetch some jobs ahead, and yield them in their order."""
    ahead: deque[tuple[Job, Future[list[Path]]]] = deque()
    for job in jobs:
        ahead.append((job, pool.submit(fetch, job)))
        if len(ahead) >= _AHEAD:
            first, paths = ahead.popleft()
            yield first, paths.result()
    for first, paths in ahead:
        yield first, paths.result()


def _fetch(session: Session, job: Job, out: Path, formats: Sequence[str]) -> list[Path]:
    if job["status"] != "completed":
        return []
    paths = []
    for name in formats:
        path = outputs.path_of(out, _target_of(job), name)
        if not path.exists():
            try:
                content = session.client.transcripts.read(job["id"], name)
            except Erased:
                return []
            outputs.write_whole(path, content)
        paths.append(path)
    return paths


def _target_of(job: Job) -> PurePosixPath:
    """Return a name that is its alone: the customer's own, or the URL's and its id."""
    own = job.get("custom_id")
    if own:
        return PurePosixPath(_UNSAFE.sub("_", own)[:_LONGEST_NAME].lstrip(".") or "_")
    url = str(job["audio"].get("url") or job["audio"].get("filename") or "audio")
    stem = PurePosixPath(_UNSAFE.sub("_", PurePosixPath(url).name)).stem
    return PurePosixPath(f"{stem[:_LONGEST_NAME].lstrip('.')}-{job['id'][-12:]}")


def _write(file: IO[str], job: Job, **more: object) -> None:
    said = {
        "job_id": job["id"],
        "custom_id": job.get("custom_id"),
        "audio": job["audio"],
        "metadata": job["metadata"],
        "status": job["status"],
        "duration_seconds": job["duration_seconds"],
        **more,
    }
    file.write(json.dumps(said, ensure_ascii=False) + "\n")


def _open(path: Path) -> IO[str]:
    return path.with_name(f".{path.name}.part").open("w", encoding="utf-8")


def _close(file: IO[str]) -> None:
    file.close()
    part = Path(file.name)
    part.replace(part.with_name(part.name.removeprefix(".").removesuffix(".part")))
