"""deepgram-sdk 5, 6 and 7."""

import importlib
import inspect
import threading

from checks import AUDIO, BASE, KEY, PCM, RATE, SOCKETS, URL, check, chunks, finish
from deepgram import DeepgramClient, DeepgramClientEnvironment
from deepgram.core.api_error import ApiError

NAMES = {"base": BASE, "production": SOCKETS, "agent": SOCKETS, "agent_rest": BASE}
known = inspect.signature(DeepgramClientEnvironment.__init__).parameters
environment = DeepgramClientEnvironment(
    **{name: value for name, value in NAMES.items() if name in known}
)
client = DeepgramClient(api_key=KEY, environment=environment)


def text(response):
    return response.results.channels[0].alternatives[0].transcript


@check("file")
def _():
    return text(client.listen.v1.media.transcribe_file(request=AUDIO, model="nova-3"))


@check("file in chunks")
def _():
    return text(
        client.listen.v1.media.transcribe_file(
            request=iter(chunks(AUDIO)), model="nova-3"
        )
    )


@check("URL")
def _():
    return text(client.listen.v1.media.transcribe_url(url=URL, smart_format=True))


@check("callback")
def _():
    accepted = client.listen.v1.media.transcribe_url(
        url=URL, callback="https://example.com/callback"
    )
    return accepted.request_id


@check("token")
def _():
    granted = client.auth.v1.tokens.grant(ttl_seconds=60)
    other = DeepgramClient(access_token=granted.access_token, environment=environment)
    return text(other.listen.v1.media.transcribe_file(request=AUDIO))


@check("project")
def _():
    (project,) = client.manage.v1.projects.list().projects
    projects = client.manage.v1.projects
    requests = projects.requests.list(project.project_id).requests
    one = projects.requests.get(project.project_id, requests[0].request_id)
    assert one.request.request_id == requests[0].request_id
    projects.billing.balances.list(project.project_id)
    return projects.usage.get(project.project_id)


@check("models")
def _():
    return client.manage.v1.models.list().stt


@check("error text")
def _():
    try:
        list(client.speak.v1.audio.generate(text="a"))
    except ApiError as error:
        return error.status_code == 501 and error.body["err_msg"]


def hear(socket, send):
    """Send in a thread, and return all messages."""
    thread = threading.Thread(target=send)
    thread.start()
    told = list(socket)
    thread.join()
    return told


def close_stream(socket, version):
    """End the stream; SDK 5 and 6 name the message instead of having a method."""
    if hasattr(socket, "send_close_stream"):
        socket.send_close_stream()
        return
    sockets = importlib.import_module("deepgram.extensions.types.sockets")
    message = getattr(sockets, f"Listen{version}ControlMessage")
    socket.send_control(message(type="CloseStream"))


@check("live")
def _():
    options = {"model": "nova-3", "encoding": "linear16", "sample_rate": str(RATE)}
    with client.listen.v1.connect(**options) as socket:

        def send():
            for each in chunks(PCM):
                socket.send_media(each)
            close_stream(socket, "V1")

        told = hear(socket, send)
    return any(
        getattr(each, "type", "") == "Results"
        and each.channel.alternatives[0].transcript
        for each in told
    )


@check("Flux")
def _():
    options = {"model": "flux-general-en", "encoding": "linear16"}
    with client.listen.v2.connect(**options, sample_rate=str(RATE)) as socket:

        def send():
            for each in chunks(PCM):
                socket.send_media(each)
            close_stream(socket, "V2")

        told = hear(socket, send)
    return any(getattr(each, "event", "") == "EndOfTurn" for each in told)


finish()
