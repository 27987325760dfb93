"""Transcripts: get, read in a format, search."""

from collections.abc import Iterator

from transcribe_platform.client.calls import ApiRequest
from transcribe_platform.client.resource import Resource
from transcribe_platform.client.shapes import Hit, Transcript

_LONG_SECONDS = 120.0


class Transcripts(Resource):
    """``client.transcripts``."""

    def get(self, job_id: str) -> Transcript:
        """Return the transcript of a completed job."""
        return self._get(Transcript, f"/v1/transcripts/{job_id}")

    def read(self, job_id: str, format_name: str) -> bytes:
        """Return the transcript in a format: ``json``, ``text``, ``srt`` …"""
        call = ApiRequest(
            method="GET",
            path=f"/v1/transcripts/{job_id}",
            params={"format": format_name},
            headers={"Accept": "*/*"},
            timeout=_LONG_SECONDS,
        )
        return self._transport.send(call).content

    def search(  # noqa: PLR0913  the filters of the API
        self,
        words: str,
        *,
        batch_id: str | None = None,
        language: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        min_confidence: str | None = None,
        metadata: dict[str, str] | None = None,
        limit: int = 20,
    ) -> Iterator[Hit]:
        """Yield transcripts that match the query, best match first."""
        return self._iterate(
            "/v1/transcripts",
            limit,
            q=words,
            batch_id=batch_id,
            language=language,
            created_after=created_after,
            created_before=created_before,
            min_confidence=min_confidence,
            metadata=metadata,
        )
