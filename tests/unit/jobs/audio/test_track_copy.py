"""An audio track that is copied out of a file sounds at the same times."""

import io
import subprocess
from array import array
from tempfile import TemporaryFile

import av
import pytest

from jobs.audio import track_copy
from tests.support.cases import CASES
from tests.support.media import Sound, decoded_seconds, make_media

KINDS = [
    ("mp4", "aac", 44100),
    ("mov", "pcm_s16le", 16000),
    ("matroska", "aac", 16000),
    ("matroska", "libmp3lame", 44100),
    ("matroska", "flac", 16000),
    ("webm", "libopus", 48000),
    ("mpegts", "aac", 48000),
    ("mpegts", "mp2", 44100),
    ("mpegts", "ac3", 48000),
    ("avi", "libmp3lame", 44100),
    ("flv", "aac", 44100),
]


def copy(content, track=1, max_bytes=10**9):
    with TemporaryFile() as file, TemporaryFile() as output:
        file.write(content)
        file.flush()
        size = track_copy.copy_track(file, output, track=track, max_bytes=max_bytes)
        output.seek(0)
        copied = output.read()
    assert size is None or size == len(copied)
    return copied if size else None


def find_onset(content, track=0):
    """Return the time of the first loud sample, in seconds of decoded samples."""
    at = 0.0
    with av.open(io.BytesIO(content)) as container:
        resampler = av.AudioResampler(format="s16p", layout="mono")
        for frame in container.decode(container.streams.audio[track]):
            for plain in resampler.resample(frame):
                samples = array("h", bytes(plain.planes[0])[: plain.samples * 2])
                if max(map(abs, samples)) > 2000:
                    onset = next(
                        i for i, each in enumerate(samples) if abs(each) > 2000
                    )
                    return at + onset / plain.sample_rate
                at += plain.samples / plain.sample_rate
    raise AssertionError("nothing is loud")


@pytest.mark.parametrize(("container", "codec", "rate"), KINDS)
@pytest.mark.parametrize("offset", [0.0, 1.4])
def test_it_sounds_at_the_same_millisecond(container, codec, rate, offset):
    sound = Sound(seconds=3, rate=rate, silent_seconds=1.0)
    video = 0 if container in {"webm", "flv"} else 3
    if container == "avi" and offset:
        pytest.skip("PyAV cannot write it")
    film = make_media(container, (codec, sound), offset=offset, video_seconds=video)

    copied = copy(film)

    assert find_onset(copied) == pytest.approx(find_onset(film), abs=0.001)
    assert decoded_seconds(copied) == pytest.approx(decoded_seconds(film), abs=0.07)
    assert not video or len(copied) < 0.8 * len(film)


def test_the_track_is_the_one_with_the_number():
    film = (CASES / "media" / "obs_track1_silent.mkv").read_bytes()

    assert find_onset(copy(film, 2)) == pytest.approx(find_onset(film, 1), abs=0.001)
    with pytest.raises(AssertionError, match="nothing is loud"):
        find_onset(copy(film, 1))


def test_chained_streams_are_copied_whole():
    content = (CASES / "media" / "chained.opus").read_bytes()

    assert decoded_seconds(copy(content)) == pytest.approx(9.68, abs=0.05)


def test_a_copy_that_saves_nothing_ends_early():
    film = make_media("matroska", ("pcm_s16le", Sound(seconds=9)), video_seconds=1)

    assert copy(film, max_bytes=1000) is None


@pytest.mark.parametrize(
    "content", [b"", b"no audio" * 99, make_media("wav", ("pcm_s16le", Sound()))[:30]]
)
def test_what_cannot_be_copied_is_none(content):
    assert copy(content) is None


def test_a_track_that_is_not_there_is_none():
    assert copy(make_media("wav", ("pcm_s16le", Sound())), track=2) is None


def test_a_child_that_hangs_is_killed(tmp_path, monkeypatch):
    hang = tmp_path / "hang.py"
    hang.write_text("import signal; signal.pause()")
    monkeypatch.setattr(track_copy.probe_child, "__file__", str(hang))
    monkeypatch.setattr(track_copy, "WALL_SECONDS", 0.5)
    started: list[subprocess.Popen] = []
    real = subprocess.Popen
    monkeypatch.setattr(
        track_copy.subprocess,
        "Popen",
        lambda *a, **k: started.append(real(*a, **k)) or started[-1],
    )

    assert copy(make_media("wav", ("pcm_s16le", Sound()))) is None
    assert started[0].returncode == -9
