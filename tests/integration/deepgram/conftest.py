from tests.integration.emulator.conftest import (  # noqa: F401
    emulator,
    launch,
    session_emulator,
    site,
)
