"""livekit-plugins-deepgram: recognize, stream, Flux."""

import asyncio

import aiohttp
from checks import BASE, KEY, PCM, RATE, SOCKETS, check, chunks, finish
from livekit import rtc
from livekit.agents import stt
from livekit.plugins import deepgram


def frame(data):
    return rtc.AudioFrame(
        data=data,
        sample_rate=RATE,
        num_channels=1,
        samples_per_channel=len(data) // 2,
    )


async def hear(service):
    """Send the speech and return the final texts."""
    stream, heard = service.stream(), []

    async def send():
        for each in chunks(PCM):
            stream.push_frame(frame(each))
            await asyncio.sleep(0.05)
        for _ in range(10):
            stream.push_frame(frame(bytes(6400)))
            await asyncio.sleep(0.05)
        stream.end_input()

    sending = asyncio.create_task(send())
    async for event in stream:
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            heard.append(event.alternatives[0].text)
            break
    await sending
    await stream.aclose()
    return heard


def run(work):
    async def call():
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            return await work(session)

    return asyncio.run(call())


@check("file")
def _():
    async def recognize(session):
        service = deepgram.STT(
            model="nova-3",
            api_key=KEY,
            base_url=f"{BASE}/v1/listen",
            http_session=session,
        )
        event = await service.recognize(frame(PCM))
        return event.alternatives[0].text

    return run(recognize)


@check("live")
def _():
    return run(
        lambda session: hear(
            deepgram.STT(
                model="nova-3",
                api_key=KEY,
                base_url=f"{BASE}/v1/listen",
                http_session=session,
            )
        )
    )


@check("Flux")
def _():
    return run(
        lambda session: hear(
            deepgram.STTv2(
                model="flux-general-en",
                api_key=KEY,
                base_url=f"{SOCKETS}/v2/listen",
                http_session=session,
            )
        )
    )


finish()
