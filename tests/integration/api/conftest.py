from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def media(media: Path) -> Path:
    """Give every test of this folder a storage of its own."""
    return media
