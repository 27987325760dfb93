import errno
import hashlib
import io
import os
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError, InterfaceError, OperationalError

from jobs.audio import uploads
from jobs.audio.uploads import CappedUploadHandler, IncomingFile
from jobs.errors import InvalidRequest, ServiceUnavailable, UploadTooLarge

TENANT = UUID("0b7c2a9e-1f5d-7b7a-9c55-2f1f9e1f4a11")


@pytest.fixture(autouse=True)
def incoming(tmp_path, settings):
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.INCOMING_ROOT = settings.MEDIA_ROOT / "incoming"
    settings.UPLOAD_MAX_BYTES = 100
    return settings.INCOMING_ROOT


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def start(handler, name="a.wav", content_type="audio/wav", field="file"):
    handler.new_file(field, name, content_type, None, None, {})
    return handler


def test_a_file_is_streamed_to_disk_and_hashed_on_the_way(incoming):
    handler = start(CappedUploadHandler())
    handler.receive_data_chunk(b"x" * 60, 0)
    handler.receive_data_chunk(b"y" * 40, 60)
    file = handler.file_complete(100)

    content = b"x" * 60 + b"y" * 40
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert (file.size, file.name, file.read()) == (100, "a.wav", content)
    assert [path.stat().st_mode & 0o777 for path in files_below(incoming)] == [0o600]
    file.close()
    assert files_below(incoming) == []


def test_the_first_byte_too_many_ends_it(incoming):
    handler = start(CappedUploadHandler())
    handler.receive_data_chunk(b"x" * 100, 0)

    with pytest.raises(UploadTooLarge):
        handler.receive_data_chunk(b"x", 100)

    handler.discard()
    assert files_below(incoming) == []


def test_an_announced_length_beyond_the_cap_is_refused_unread(incoming):
    class Unread(io.BytesIO):
        def read(self, *_args):
            raise AssertionError

    longest = 100 + uploads.FORM_OVERHEAD_BYTES
    CappedUploadHandler().handle_raw_input(Unread(), {}, longest, b"--x")
    with pytest.raises(UploadTooLarge):
        CappedUploadHandler().handle_raw_input(Unread(), {}, longest + 1, b"--x")

    assert not incoming.exists()


@pytest.mark.parametrize(
    "content_type", ["", "binary/octet-stream", "audio/x-flac", "text/plain", "no type"]
)
def test_a_part_of_any_type_is_taken(content_type):
    start(CappedUploadHandler(), content_type=content_type).discard()


def test_a_form_has_one_file_in_one_field(incoming):
    with pytest.raises(InvalidRequest) as caught:
        start(CappedUploadHandler(), field="a/b")
    assert (caught.value.code, caught.value.pointer) == ("field_unknown", "/a~1b")

    handler = start(CappedUploadHandler())
    with pytest.raises(InvalidRequest):
        start(handler)
    handler.discard()
    assert files_below(incoming) == []


def test_a_form_that_ends_inside_its_file_leaves_nothing(incoming):
    handler = start(CappedUploadHandler())
    handler.receive_data_chunk(b"half", 0)

    with pytest.raises(InvalidRequest) as caught:
        handler.upload_interrupted()

    assert caught.value.code == "body_truncated"
    assert files_below(incoming) == []


def test_a_full_disk_is_our_trouble(monkeypatch):
    def full(_chunk):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = IncomingFile("a.wav", "audio/wav")
    monkeypatch.setattr(file._disk, "write", full)
    with pytest.raises(ServiceUnavailable):
        file.append(b"x")
    file.close()


def test_keeping_a_file_renames_it(incoming, settings):
    settings.UPLOAD_MAX_BYTES = 10**6
    file = IncomingFile("../my recording (1).wav", "audio/wav")
    file.append(b"sound")
    file.sync()
    inode = incoming.joinpath(file.temporary_file_path()).stat().st_ino

    name = uploads.store_upload(file, tenant_id=TENANT)
    file.close()

    root, tenant, job, filename = name.split("/")
    assert (root, tenant, filename) == ("audio", str(TENANT), "my_recording_1_.wav")
    assert UUID(job).version == 7
    kept = settings.MEDIA_ROOT / name
    assert (kept.stat().st_ino, kept.read_bytes()) == (inode, b"sound")
    assert kept.stat().st_mode & 0o777 == 0o640
    assert files_below(settings.MEDIA_ROOT) == [kept]


def test_a_202_survives_a_power_cut(incoming, monkeypatch):
    settled = []
    monkeypatch.setattr(
        uploads.os,
        "fsync",
        lambda fd: settled.append(Path(f"/proc/self/fd/{fd}").readlink()),
    )
    handler = start(CappedUploadHandler())
    handler.receive_data_chunk(b"x", 0)
    file = handler.file_complete(1)
    written = Path(file.temporary_file_path())

    name = uploads.store_upload(file, tenant_id=TENANT)
    file.close()

    folder = (incoming.parent / name).parent
    parents = [folder, folder.parent, folder.parent.parent]
    assert settled == [written, *parents]


def test_a_kept_file_can_be_taken_back_without_a_trace(settings):
    file = IncomingFile("a.wav", "audio/wav")
    name = uploads.store_upload(file, tenant_id=TENANT)
    file.close()

    uploads.discard_upload(name)

    assert not default_storage.exists(name)
    assert list((settings.MEDIA_ROOT / "audio" / str(TENANT)).iterdir()) == []


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.wav", "a.wav"),
        ("../../etc/passwd", "etc_passwd"),
        ("..", "audio"),
        ("", "audio"),
        ("\0\r\n", "audio"),
        (".htaccess", "htaccess"),
        ("-rf.wav", "rf.wav"),
        ("été 2026.MP3", "t_2026.MP3"),
        ("x" * 300 + ".flac", "x" * 84 + ".flac"),
        ("a." + "b" * 300, "a." + "b" * 15),
    ],
)
def test_any_name_becomes_one_that_storages_take(name, safe):
    assert uploads.safe_name(name) == safe


def lost(kind, sqlstate):
    error = kind("lost")
    error.__cause__ = psycopg.OperationalError("lost")
    error.__cause__.sqlstate = sqlstate
    return error


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (lost(OperationalError, None), True),
        (lost(InterfaceError, None), True),
        (OperationalError("the connection is lost"), True),
        (lost(OperationalError, "40P01"), False),
        (IntegrityError("no"), False),
        (ValueError("no"), False),
    ],
)
def test_only_a_lost_connection_leaves_a_commit_in_doubt(error, unknown):
    assert uploads.is_outcome_unknown(error) is unknown


def test_what_a_killed_process_left_is_removed_and_what_is_written_is_not(incoming):
    writing = start(CappedUploadHandler()).file
    left = incoming / "left.upload"
    young = incoming / "young.upload"
    foreign = incoming / "other.key"
    for path in (left, young, foreign):
        path.write_bytes(b"x")
    for path in (left, foreign, Path(writing.temporary_file_path())):
        os.utime(path, (0, 0))
    uploads.purge_abandoned_uploads.cache_clear()

    IncomingFile("b.wav", "audio/wav").close()

    assert sorted(files_below(incoming)) == sorted(
        [young, foreign, Path(writing.temporary_file_path())]
    )
    writing.close()
