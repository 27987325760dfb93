from collections.abc import Callable
from typing import Any

import pytest

from tests.support.emulator_process import EmulatorProcess
from tests.support.factories import make_unique_wav
from tests.support.waiting import eventually


@pytest.fixture
def media(emulator: EmulatorProcess) -> Any:
    """The SDK's client of prerecorded audio."""
    return emulator.client().listen.v1.media


@pytest.fixture
def wav() -> Callable[..., bytes]:
    return make_unique_wav


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    return eventually
