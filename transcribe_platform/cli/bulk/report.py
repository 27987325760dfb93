"""Reports the outcome of each source, as text or JSON."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transcribe_platform.cli.bulk import outputs
from transcribe_platform.cli.bulk.sources import Source
from transcribe_platform.cli.session import Session, get_code
from transcribe_platform.client.errors import ApiError
from transcribe_platform.client.shapes import Job


@dataclass(slots=True)
class Tally:
    """Counts of sources by outcome."""

    total: int
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    resumed: int = 0


@dataclass(slots=True)
class Download:
    """A downloaded transcript: documents by format, or the files they are in."""

    documents: dict[str, bytes] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


class Report:
    """Writes the outcomes of one run."""

    def __init__(self, session: Session, *, total: int, is_waiting: bool) -> None:
        self._session, self._is_waiting = session, is_waiting
        self.tally = Tally(total=total)

    def submitted(self, source: Source, job: Job, *, is_resumed: bool) -> None:
        """Report a submitted job."""
        self.tally.submitted += 1
        self.tally.resumed += is_resumed
        if self._session.as_json:
            self._emit("submitted", source, job_id=job["id"], resumed=is_resumed)
        elif not self._is_waiting:
            self._session.write(f"{job['id']}\t{source.name}")

    def completed(self, source: Source, job: Job, result: Download) -> None:
        """Report a transcript."""
        self.tally.completed += 1
        if self._session.as_json:
            self._emit(
                "completed",
                source,
                job_id=job["id"],
                duration_seconds=job["duration_seconds"],
                warnings=[warning["code"] for warning in job["warnings"]],
                files=[str(path) for path in result.files],
                **_as_json(result.documents),
            )
            return
        for warning in job["warnings"]:
            self._session.inform(f"{source.name}: warning: {warning['detail']}")
        for path in result.files:
            self._session.write(str(path))
        for document in result.documents.values():
            self._print(source, document.decode(errors="replace"))

    def failed(self, source: Source, error: Exception, job: Job | None = None) -> None:
        """Report a failed source."""
        code, detail = get_code(error), _detail(error)
        if job is not None:
            problem = job["error"] or {"code": job["status"], "detail": str(error)}
            code, detail = problem["code"], problem["detail"]
        self.tally.failed += 1
        if self._session.as_json:
            job_id = job["id"] if job else None
            shown = {"code": code, "detail": detail}
            self._emit("failed", source, job_id=job_id, error=shown)
        else:
            line = f"{source.name}: {detail} ({code})"
            self._session.warn(line, fg="red")

    def summarize(self) -> None:
        """Write the summary, with `--json`."""
        tally = self.tally
        if self._session.as_json:
            self._session.emit(
                {
                    "type": "summary",
                    "total": tally.total,
                    "submitted": tally.submitted,
                    "resumed": tally.resumed,
                    "completed": tally.completed,
                    "failed": tally.failed,
                }
            )

    def _print(self, source: Source, text: str) -> None:
        shown = text.rstrip("\n")
        if self.tally.total > 1:
            shown = f"==> {source.name} <==\n{shown}\n"
        self._session.write(shown)

    def _emit(self, kind: str, source: Source, **fields: Any) -> None:
        self._session.emit({"type": kind, "source": source.name, **fields})


def _as_json(documents: dict[str, bytes]) -> dict[str, Any]:
    """Return the document as a JSON value, or else as text."""
    for name, content in documents.items():
        is_json = name in {"json", "raw"}
        text = content.decode(errors="replace")
        return {"transcript": json.loads(content) if is_json else text}
    return {}


def _detail(error: Exception) -> str:
    if isinstance(error, ApiError):
        return error.detail
    if isinstance(error, outputs.NotWritten):
        return f"The result cannot be written to {error.filename}: {error.strerror}"
    if isinstance(error, OSError):
        return f"The file cannot be read: {error.strerror or error}"
    return str(error)
