"""Submit by URL and by file with a client of openapi-python-client; print the texts.

Runs in the environment of the generator, with the package ``generated`` in the working
directory.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
from generated import AuthenticatedClient
from generated.api.jobs import get_job, submit_job
from generated.api.transcripts import get_transcript
from generated.models import (
    JobDetailOutput,
    JobFormRequest,
    JobInputRequest,
    JobInputRequestMetadataType0,
    JobOutput,
    TranscriptOutput,
)
from generated.types import File


def read(client: AuthenticatedClient, job: object) -> str:
    """Poll the job and return the text of its transcript."""
    if not isinstance(job, JobOutput):
        raise SystemExit(str(job))
    while True:
        found = get_job.sync(job.id, client=client)
        if not isinstance(found, JobDetailOutput):
            raise SystemExit(str(found))
        if found.status == "completed":
            break
        if found.status not in {"queued", "processing"}:
            raise SystemExit(f"{found.status}: {found.error}")
        time.sleep(0.2)
    transcript = get_transcript.sync(job.id, client=client)
    if not isinstance(transcript, TranscriptOutput):
        raise SystemExit(str(transcript))
    return transcript.text


def main(base: str, key: str, url: str, file: str) -> None:
    """Submit twice."""
    client = AuthenticatedClient(base_url=base, token=key)
    metadata = JobInputRequestMetadataType0.from_dict({"order": "1"})
    by_url = submit_job.sync(
        client=client, body=JobInputRequest(audio_url=url, metadata=metadata)
    )
    with Path(file).open("rb") as opened:
        upload = File(payload=opened, file_name="a.wav", mime_type="audio/wav")
        by_file = submit_job.sync(client=client, body=JobFormRequest(file=upload))
    print(json.dumps([read(client, by_url), read(client, by_file)]))  # noqa: T201


main(*sys.argv[1:])
