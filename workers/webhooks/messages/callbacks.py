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
        error = deepgram_response.build_error(job)
        return json.dumps(error.envelope(str(job.pk))).encode()
    return deepgram_response.replace_request_id(read_document(transcript), str(job.pk))
