"""One tenant's uploads in progress leave disk space to the uploads of others."""

import gc
from types import SimpleNamespace

import pytest

from jobs.audio import spool_space
from jobs.audio.uploads import IncomingFile
from jobs.errors import ServiceUnavailable

MIB = 1024**2


@pytest.fixture
def free(monkeypatch, tmp_path, settings):
    """Pretend that 100 MiB of the disk are free."""
    usage = SimpleNamespace(free=100 * MIB)
    monkeypatch.setattr(spool_space.shutil, "disk_usage", lambda _folder: usage)
    settings.INCOMING_ROOT = tmp_path / "incoming"
    return usage


def request_of(tenant):
    return SimpleNamespace(user=SimpleNamespace(pk=tenant))


def open_file(tenant, size):
    request = request_of(tenant)
    return IncomingFile("a.wav", "audio/wav", request=request, announced=size)


def test_a_tenant_may_take_half_of_the_free_space(free):
    first = open_file("a", 30 * MIB)

    with pytest.raises(ServiceUnavailable):
        open_file("a", 21 * MIB)
    other = open_file("b", 30 * MIB)
    first.close()
    second = open_file("a", 50 * MIB)

    other.close()
    second.close()
    second.close()
    assert spool_space._reserved.total() == 0


def test_a_refused_upload_leaves_no_file(free, settings):
    with pytest.raises(ServiceUnavailable):
        open_file("a", 51 * MIB)

    assert list(settings.INCOMING_ROOT.iterdir()) == []
    assert spool_space._reserved.total() == 0


def test_space_is_released_with_a_file_that_nobody_closes(free):
    file = open_file("a", 30 * MIB)
    assert spool_space._reserved.total() == 30 * MIB

    del file
    gc.collect()

    assert spool_space._reserved.total() == 0
