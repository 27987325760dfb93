"""The S3 storage against a real server: SeaweedFS, as docker-compose.yml runs it."""

import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile

from tests.deploy import weed
from transcribe_platform.s3 import S3Storage, StorageUnavailable

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-of-a-test"}
BIG = bytes(range(256)) * 80_000  # 20 MB: three parts


def storage_at(url: str, **others: str) -> S3Storage:
    given = {"access_key": "key", "secret_key": "secret-of-a-test"} | others
    return S3Storage(
        bucket_name="recordings", endpoint_url=url, region_name="us-east-1", **given
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("s3")
    with weed.running(folder, {**KEYS, "S3_BUCKET": "recordings"}) as url:
        yield url


@pytest.fixture
def storage(url: str) -> S3Storage:
    return storage_at(url)


def test_a_file_comes_back_as_it_went_and_can_be_read_from_anywhere(storage):
    name = storage.save("audio/t/1/talk.wav", ContentFile(BIG))
    assert name == "audio/t/1/talk.wav"

    with storage.open(name) as file:
        assert file.size == len(BIG)
        assert file.read(10) == BIG[:10]
        file.seek(len(BIG) - 4)
        assert file.read() == BIG[-4:]
        assert file.read() == b""
        file.seek(0)
        assert b"".join(iter(lambda: file.read(1_000_000), b"")) == BIG


def test_nothing_is_downloaded_before_it_is_read(storage, monkeypatch):
    name = storage.save("audio/t/2/talk.wav", ContentFile(BIG))

    with storage.open(name) as file:
        file.seek(10_000_000)
        assert file.read(5) == BIG[10_000_000:10_000_005]
        body = file.file.raw._body
        assert body.tell() <= 512 * 1024


def test_what_is_not_there_is_told_as_files_tell_it(storage):
    assert not storage.exists("raw/none")
    with pytest.raises(FileNotFoundError):
        storage.open("raw/none")
    storage.delete("raw/none")


def test_the_sweep_finds_folders_files_and_their_age(storage):
    storage.save("raw/t/job/1.json.gz", ContentFile(b"x"))

    assert storage.listdir("raw/t") == (["job"], [])
    assert storage.listdir("raw/t/job") == ([], ["1.json.gz"])
    age = datetime.now(UTC) - storage.get_modified_time("raw/t/job/1.json.gz")
    assert age < timedelta(minutes=1)
    storage.delete("raw/t/job/1.json.gz")
    assert storage.listdir("raw/t/job") == ([], [])


def test_threads_share_one_connection(storage):
    seen = []

    def use(number: int) -> None:
        name = storage.save(f"audio/t/{number}.wav", ContentFile(b"x" * number))
        with storage.open(name) as file:
            seen.append((len(file.read()), id(storage.connection)))

    threads = [threading.Thread(target=use, args=(n,)) for n in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(size for size, _ in seen) == list(range(1, 21))
    assert len({connection for _, connection in seen}) == 1


@pytest.mark.parametrize("trouble", ["away", "wrong key"])
def test_trouble_is_one_error_for_doors_and_workers(url, trouble):
    storage = (
        storage_at("http://127.0.0.1:1")
        if trouble == "away"
        else storage_at(url, secret_key="another")
    )

    for attempt in (
        lambda: storage.save("audio/t/x", io.BytesIO(b"x")),
        lambda: storage.open("audio/t/x"),
        lambda: storage.exists("audio/t/x"),
        lambda: storage.listdir("audio"),
    ):
        with pytest.raises(StorageUnavailable) as caught:
            attempt()
        assert isinstance(caught.value, OSError)
        assert caught.value.code == "service_unavailable"
