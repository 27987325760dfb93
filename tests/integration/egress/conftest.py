from collections.abc import Iterator

import pytest

from tests.support.certificates import Authority, new_authority
from workers.egress import network
from workers.webhooks.delivery import transport


@pytest.fixture(autouse=True)
def _transport_of_its_own(settings) -> Iterator[None]:
    settings.WEBHOOK_TIMEOUT_SECONDS = 5
    transport.close()
    yield
    transport.close()


@pytest.fixture
def authority(tmp_path, monkeypatch) -> Authority:
    """Return the one authority that the platform trusts in this test."""
    made = new_authority(tmp_path)
    build = network.build_transport

    def trusting(**options):
        return build(**options, ssl_context=made.client)

    monkeypatch.setattr(network, "build_transport", trusting)
    return made
