"""The body for a callback URL in Deepgram's format.

Deepgram's document with the job's ID as the request ID, or an error in Deepgram's
envelope. https://developers.deepgram.com/docs/callback
"""

import json

from jobs.models import Job
from transcripts.formats import deepgram_response
from transcripts.models import Transcript
from transcripts.storage import read_document


def build_callback(job: Job, transcript: Transcript | None) -> bytes:
    """Return the body for a finished job."""
    if transcript is None:
        refusal = deepgram_response.refusal_of(job)
        return json.dumps(refusal.envelope(str(job.pk))).encode()
    return deepgram_response.rename_request(read_document(transcript), str(job.pk))
