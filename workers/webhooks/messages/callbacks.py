"""What a job's callback URL gets when it was asked for as Deepgram's callback.

Deepgram's own document under the request id that the caller was given (the job's), or
the error in Deepgram's envelope. https://developers.deepgram.com/docs/callback
"""

import json

from jobs.models import Job
from transcripts.formats import deepgram_response
from transcripts.models import Transcript
from transcripts.storage import read_document


def build_callback(job: Job, transcript: Transcript | None) -> bytes:
    """Return the body for a job that has ended."""
    if transcript is None:
        refusal = deepgram_response.refusal_of(job)
        return json.dumps(refusal.envelope(str(job.pk))).encode()
    return deepgram_response.rename_request(read_document(transcript), str(job.pk))
