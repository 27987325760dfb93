"""pipecat-ai: its Deepgram services in a pipeline, live and Flux."""

import asyncio

from checks import BASE, KEY, PCM, RATE, SOCKETS, check, chunks, finish
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService
from pipecat.services.deepgram.stt import DeepgramSTTService


class Listener(FrameProcessor):
    """Keeps the transcriptions."""

    def __init__(self):
        super().__init__()
        self.heard = asyncio.Queue()

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self.heard.put_nowait(frame.text)
        await self.push_frame(frame, direction)


async def hear(build):
    listener = Listener()
    task = PipelineTask(
        Pipeline([build(), listener]),
        params=PipelineParams(audio_in_sample_rate=RATE),
    )
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    try:
        async with asyncio.timeout(60):
            await asyncio.sleep(2)  # until the service has connected
            for each in [*chunks(PCM), *[bytes(6400)] * 10]:
                await task.queue_frame(
                    InputAudioRawFrame(audio=each, sample_rate=RATE, num_channels=1)
                )
                await asyncio.sleep(0.1)
            return await listener.heard.get()
    finally:
        await task.queue_frame(EndFrame())
        await asyncio.wait([running], timeout=20)


@check("live")
def _():
    return asyncio.run(hear(lambda: DeepgramSTTService(api_key=KEY, base_url=BASE)))


@check("Flux")
def _():
    return asyncio.run(
        hear(lambda: DeepgramFluxSTTService(api_key=KEY, url=f"{SOCKETS}/v2/listen"))
    )


finish()
