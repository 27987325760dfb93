import json
import os
import resource
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import av
import pytest
from django.conf import settings

from jobs.audio import declared_sizes, media_scan, probe, probe_child
from jobs.errors import ServiceUnavailable, UnsupportedAudio
from tests.support.factories import make_audio, make_wav
from workers import demo

KINDS = [
    ("wav", "pcm_s16le"),
    ("flac", "flac"),
    ("mp3", "libmp3lame"),
    ("ipod", "aac"),
    ("ogg", "libopus"),
    ("webm", "libopus"),
    ("aiff", "pcm_s16be"),
    ("adts", "aac"),
]


@pytest.fixture
def store(tmp_path):
    def write(content, name="audio"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def examine(path):
    with path.open("rb", buffering=0) as file:
        return probe_child.examine(file)


def refused(path):
    with pytest.raises(UnsupportedAudio) as caught:
        probe.probe_audio(path, tenant=1)
    return caught.value.code


@pytest.mark.parametrize(("container", "codec"), KINDS)
def test_whole_audio_is_described(store, container, codec):
    path = store(make_audio(container, codec))

    facts = examine(path)

    assert facts["duration_seconds"] == pytest.approx(4.0, abs=0.15)
    assert facts["channels"] == 1
    assert facts["sample_rate"] == (48000 if codec == "libopus" else 16000)
    assert facts["is_silent"] is False


@pytest.mark.parametrize(("container", "codec"), KINDS[:-1])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_audio_that_lost_its_end_is_truncated(store, container, codec, share):
    whole = make_audio(container, codec)

    facts = examine(store(whole[: int(len(whole) * share)]))

    assert facts == {"error": "audio_truncated"}


def test_a_stream_without_a_stated_length_lasts_as_long_as_it_is(store):
    whole = make_audio("adts", "aac")

    facts = examine(store(whole[: len(whole) // 2]))

    assert facts["duration_seconds"] == pytest.approx(2.0, abs=0.2)


def test_a_wav_written_to_a_pipe_states_no_length_and_is_taken(store):
    whole = bytearray(make_wav(2.0))
    whole[4:8] = whole[40:44] = b"\xff\xff\xff\xff"

    facts = examine(store(bytes(whole)))

    assert facts["duration_seconds"] == pytest.approx(2.0, abs=0.01)


def test_an_mp3_without_a_length_tag_is_counted_not_estimated(store):
    whole = make_audio("mp3", "libmp3lame")
    untagged = whole.replace(b"Info", b"\0\0\0\0").replace(b"Xing", b"\0\0\0\0")

    facts = examine(store(untagged))

    assert facts["duration_seconds"] == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "audio_empty"),
        (make_wav(0), "audio_empty"),
        (make_wav()[:44], "audio_truncated"),
        (make_wav()[:20], "audio_truncated"),
        (b"RIFF", "audio_unreadable"),
        (b"hello, I am a text file\n" * 500, "audio_unreadable"),
        (b"%PDF-1.7\n" + bytes(5000), "audio_unreadable"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "audio_unreadable"),
        (bytes(100_000), "audio_unreadable"),
        (bytes(range(256)) * 4000, "audio_unreadable"),
        (b"\xff\xfb\x90\x64" + b"garbage" * 3000, "audio_unreadable"),
    ],
)
def test_what_is_not_whole_audio_is_told_apart(store, content, code):
    assert examine(store(content)) == {"error": code}


def test_a_video_without_sound_has_no_audio(store, tmp_path):
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))

    assert examine(path) == {"error": "audio_missing"}


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_playlist_that_names_other_files_is_not_followed(store, playlist):
    secret = store(make_audio("adts", "aac"), "secret.aac")

    code = refused(store(playlist.format(secret).encode(), "list.m3u8"))

    assert code == "audio_unreadable"


def test_silence_is_told_from_sound_and_from_not_knowing(store, monkeypatch):
    silence = store(make_wav(2.0, volume=0))
    assert examine(silence)["is_silent"] is True

    monkeypatch.setattr(media_scan, "PACKETS_TO_DECODE", 1)
    monkeypatch.setattr(media_scan, "SECONDS_TO_DECODE", 0.1)
    monkeypatch.setattr(media_scan, "SAMPLE_INTERVAL_SECONDS", 1000)
    monkeypatch.setattr(media_scan, "DECODE_SECONDS", 0.0)
    assert examine(silence)["is_silent"] is None


def test_a_file_too_long_to_read_is_believed_by_its_header(store, monkeypatch):
    monkeypatch.setattr(probe_child, "DEMUX_SECONDS", -1.0)

    facts = examine(store(make_audio("flac", "flac")))

    assert facts["duration_seconds"] == 4.0


def test_the_child_says_what_it_found(store):
    found = probe.probe_audio(store(make_wav(0.5, channels=2)), tenant=1)

    assert found == probe.Probe(
        duration_seconds=0.5,
        codec="pcm_s16le",
        channels=2,
        sample_rate=8000,
        format="wav",
        is_silent=False,
        tracks=(
            {
                "number": 1,
                "codec": "pcm_s16le",
                "channels": 2,
                "title": "",
                "language": "",
                "is_silent": False,
            },
        ),
    )
    assert found.content_type == "audio/wav"


SPEECH = Path(demo.__file__).with_name("speech")
FILES = sorted(path for path in SPEECH.iterdir() if path.suffix != ".json")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_bundled_speech_is_examined_in_the_sandbox(path):
    expected = examine(path)

    assert probe._run_child(path) == expected
    assert ("error" in expected) == (path.name == "broken.wav")


@pytest.mark.parametrize(("container", "codec"), KINDS)
def test_every_kind_of_audio_is_examined_in_the_sandbox(store, container, codec):
    path = store(make_audio(container, codec))

    assert probe._run_child(path) == examine(path)


def test_the_child_sees_no_environment(store, monkeypatch):
    monkeypatch.setenv("DEEPGRAM_API_KEY", "secret")
    spy = store(b"import os, json; print(json.dumps(dict(os.environ)))", "spy.py")
    monkeypatch.setattr(probe.probe_child, "__file__", str(spy))

    seen = probe._run_child(spy)

    assert "DEEPGRAM_API_KEY" not in seen
    assert "DATABASE_URL" not in seen


def test_a_child_that_dies_means_an_unreadable_file(store, monkeypatch):
    bomb = store(b"import os; os.abort()", "bomb.py")
    monkeypatch.setattr(probe.probe_child, "__file__", str(bomb))

    assert refused(bomb) == "audio_unreadable"


def test_a_child_that_hangs_is_our_trouble_and_is_ended(store, monkeypatch):
    hang = store(b"import signal; signal.pause()", "hang.py")
    monkeypatch.setattr(probe.probe_child, "__file__", str(hang))
    monkeypatch.setattr(probe, "WALL_SECONDS", 0.5)

    with pytest.raises(ServiceUnavailable):
        probe.probe_audio(hang, tenant=1)


def test_uploads_without_a_slot_wait_and_are_refused_until_later(store, monkeypatch):
    monkeypatch.setattr(probe, "WAIT_SECONDS", 0.01)
    with ExitStack() as stack:
        for tenant in range(probe.PROBES_AT_ONCE):
            slot = probe._slots.acquire(tenant, timeout=0)
            assert stack.enter_context(slot)

        with pytest.raises(ServiceUnavailable):
            probe.probe_audio(store(make_wav()), tenant="newcomer")


def test_one_tenants_uploads_leave_a_slot_to_the_others(store, monkeypatch):
    monkeypatch.setattr(probe, "WAIT_SECONDS", 0.01)
    with ExitStack() as stack:
        for _ in range(probe.PROBES_AT_ONCE - 1):
            assert stack.enter_context(probe._slots.acquire("busy", timeout=0))

        with pytest.raises(ServiceUnavailable):
            probe.probe_audio(store(make_wav()), tenant="busy")
        found = probe.probe_audio(store(make_wav()), tenant="other")

    assert found.codec == "pcm_s16le"


@pytest.mark.parametrize("flags", [(), ("--declared",)])
def test_a_wav_file_of_millions_of_chunks_is_refused_before_they_are_walked(
    store, monkeypatch, flags
):
    chunks = 24 * 1024**2 // 8
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    body += b"junk\0\0\0\0" * chunks
    path = store(b"RIFF" + struct.pack("<I", len(body)) + body)
    monkeypatch.setattr(probe, "WALL_SECONDS", 10.0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    facts = probe._run_in_slot(path, *flags, tenant=1, wait=10)

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert facts == {"error": "audio_unreadable"}
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_the_boxes_of_an_mp4_file_are_walked_up_to_a_limit(store, monkeypatch):
    whole = make_audio("ipod", "aac")
    cut = store(whole + struct.pack(">I4s", 8, b"free") * 20 + whole[: len(whole) // 2])
    monkeypatch.setattr(declared_sizes, "MAX_BOXES", 10)

    with cut.open("rb", buffering=0) as file:
        ends = declared_sizes.find_declared_end(file, cut.stat().st_size)

    assert ends <= len(whole) + 10 * 8


def test_ffmpeg_gets_limited_time_for_a_header(store, monkeypatch):
    monkeypatch.setattr(probe_child, "OPEN_SECONDS", 0.0)
    path = store(make_audio("flac", "flac"))

    assert examine(path) == {"error": "timeout"}
    with path.open("rb", buffering=0) as file:
        assert probe_child.read_header(file) == {"error": "timeout"}


@pytest.mark.parametrize("error", ["timeout", "not_confined"])
def test_what_is_not_the_files_fault_is_not_said_of_it(store, monkeypatch, error):
    script = f'print(\'{{"error": "{error}"}}\')'.encode()
    broken = store(script, "broken.py")
    monkeypatch.setattr(probe.probe_child, "__file__", str(broken))

    with pytest.raises(ServiceUnavailable):
        probe.probe_audio(broken, tenant=1)


def test_the_child_may_not_outgrow_its_limits(tmp_path):
    script = (
        "import json, os, resource, sys\n"
        f"sys.path.append({str(settings.BASE_DIR)!r})\n"
        "from jobs.audio import probe_child\n"
        "probe_child.limit_resources()\n"
        "kinds = ('AS', 'CPU', 'NOFILE', 'FSIZE', 'CORE')\n"
        "niceness = os.nice(0)\n"
        "limits = [resource.getrlimit(getattr(resource, 'RLIMIT_' + k)) for k in kinds]\n"
        "try:\n    bytearray(600 << 20)\n"
        "except MemoryError:\n    print(json.dumps([limits, niceness]))\n"
    )
    limited = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, cwd=tmp_path
    )

    expected = [probe_child.MEMORY_BYTES, probe_child.CPU_SECONDS, 32, 0, 0]
    limits, niceness = json.loads(limited.stdout)
    assert limits == [[limit, limit] for limit in expected]
    assert niceness == min(os.nice(0) + probe_child.NICENESS, 19)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"encoding": "linear16", "sample_rate": 8000}, 1.0),
        ({"encoding": "linear16", "sample_rate": 8000, "channels": 2}, 0.5),
        ({"encoding": "mulaw", "sample_rate": 8000}, 2.0),
        ({"encoding": "opus", "sample_rate": 48000}, None),
    ],
)
def test_headerless_audio_is_described_by_its_options(options, seconds):
    found = probe.describe_raw(16000, options)

    assert found.duration_seconds == seconds
    assert found.format == "raw"
    assert found.content_type == "application/octet-stream"


def test_headerless_audio_may_be_empty_too():
    with pytest.raises(UnsupportedAudio) as caught:
        probe.describe_raw(0, {"encoding": "mulaw", "sample_rate": 8000})

    assert caught.value.code == "audio_empty"
