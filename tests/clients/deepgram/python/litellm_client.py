"""litellm: its Deepgram provider, with the options of OpenAI's API."""

import io

from checks import AUDIO, BASE, KEY, check, finish
from litellm import transcription


def transcribe(**options):
    file = io.BytesIO(AUDIO)
    file.name = "a.wav"
    return transcription(
        model="deepgram/nova-3",
        file=file,
        api_key=KEY,
        api_base=f"{BASE}/v1",
        **options,
    )


@check("file")
def _():
    return transcribe().text


@check("options")
def _():
    return transcribe(language="en", smart_format=True, diarize=True).text


finish()
