"""pytest plugin: a real PostgreSQL and a real Redis for every run.

Named by `addopts = -p tests.services`, because pytest-django sets Django up before any
conftest.py is read. Servers named by DATABASE_URL or REDIS_URL are used as they are;
otherwise they start from the wheels or the machine, and end with the run.
"""

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from _pytest.nodeid import NodeId

from tests.servers import servers
from workers.embedded.binaries import scratch_folder

DATABASES_PER_XDIST_WORKER = 3
pytest.register_assert_rewrite("tests.support")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config,
) -> Iterator[None]:
    """Start the servers before pytest-django reads the settings: wrappers go first."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:  # the environment of the controller is already here
        _use_own_redis_databases(int(worker.removeprefix("gw")))
    else:
        stack = ExitStack()
        early_config.add_cleanup(stack.close)
        folder = scratch_folder("transcribe-tests-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _set_environment(folder)
        os.environ.update(stack.enter_context(servers(folder, durable=False)))
    return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep xdist's groups together: what a group shares must not be made twice.

    xdist 3.8 marks them in an attribute that pytest 9.2 no longer reads.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for item in items:
        for mark in item.iter_markers("xdist_group"):
            item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")


def _set_environment(folder: Path) -> None:
    """Give every setting without a default a value that is good for tests."""
    # What a developer's shell holds must not reach a test, least of all a paid key.
    os.environ.pop("DEEPGRAM_API_KEY", None)
    for name, value in {
        "SECRET_KEY": "for-tests-only",
        "FIELD_ENCRYPTION_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
        "MEDIA_ROOT": str(folder / "media"),
        "ALLOWED_HOSTS": "*",
        "FAILED_KEYS_PER_MINUTE": "0",  # all tests have one address
    }.items():
        os.environ.setdefault(name, value)


def _use_own_redis_databases(worker: int) -> None:
    """Move this xdist worker to three databases and a folder of its own."""
    os.environ["MEDIA_ROOT"] = f"{os.environ['MEDIA_ROOT']}/{worker}"
    url = urlsplit(os.environ["REDIS_URL"])
    number = 1 + DATABASES_PER_XDIST_WORKER * worker
    os.environ["REDIS_URL"] = urlunsplit(url._replace(path=f"/{number}"))
