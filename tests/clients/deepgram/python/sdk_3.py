"""deepgram-sdk 3 and 4."""

import threading

from checks import AUDIO, BASE, KEY, PCM, RATE, URL, check, chunks, finish
from deepgram import (
    DeepgramClient,
    DeepgramClientOptions,
    LiveOptions,
    LiveTranscriptionEvents,
    PrerecordedOptions,
)

client = DeepgramClient(KEY, DeepgramClientOptions(url=BASE))
options = PrerecordedOptions(model="nova-3", smart_format=True)


def text(response):
    return response.results.channels[0].alternatives[0].transcript


@check("file")
def _():
    source = {"buffer": AUDIO, "mimetype": "audio/wav"}
    return text(client.listen.rest.v("1").transcribe_file(source, options))


@check("file in chunks")
def _():
    source = {"stream": iter(chunks(AUDIO))}
    return text(client.listen.rest.v("1").transcribe_file(source, options))


@check("URL")
def _():
    return text(client.listen.rest.v("1").transcribe_url({"url": URL}, options))


@check("callback")
def _():
    accepted = client.listen.rest.v("1").transcribe_url_callback(
        {"url": URL}, "https://example.com/callback", options
    )
    return accepted.request_id


@check("token")
def _():
    granted = client.auth.v("1").grant_token()
    return granted.access_token.count(".") == 2


@check("project")
def _():
    manage = client.manage.v("1")
    (project,) = manage.get_projects().projects
    manage.get_usage_requests(project.project_id, {"limit": 1})
    manage.get_balances(project.project_id)
    return manage.get_project(project.project_id).name


@check("error text")
def _():
    try:
        client.manage.v("1").get_keys(
            client.manage.v("1").get_projects().projects[0].project_id
        )
    except Exception as error:  # noqa: BLE001  its class differs by version
        return "/v1/api-keys" in str(error)


@check("live")
def _():
    socket = client.listen.websocket.v("1")
    heard, closed = [], threading.Event()

    def on_transcript(_self, result, **_more):
        heard.append(result.channel.alternatives[0].transcript)

    socket.on(LiveTranscriptionEvents.Transcript, on_transcript)
    socket.on(LiveTranscriptionEvents.Metadata, lambda *_a, **_k: closed.set())
    assert socket.start(
        LiveOptions(model="nova-3", encoding="linear16", sample_rate=RATE)
    )
    for each in chunks(PCM):
        socket.send(each)
    socket.send('{"type": "CloseStream"}')
    closed.wait(20)
    socket.finish()
    return any(heard)


finish()
