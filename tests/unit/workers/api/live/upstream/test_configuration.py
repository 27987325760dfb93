"""Changes of a stream's options: one at a time, one response each."""

import pytest

from workers.api.live.upstream.configuration import Configuration
from workers.api.live.wire_format import ConfigureRequest


def change(*keyterms):
    message = {"type": "Configure", "keyterms": list(keyterms)}
    return ConfigureRequest(message=message, options={"keyterm": list(keyterms)})


@pytest.fixture
def configuration():
    return Configuration()


def test_a_change_is_remembered_only_after_success(configuration):
    assert configuration.request(change("a"), now=0) is None
    assert configuration.take_message()["keyterms"] == ["a"]
    assert configuration.accepted == {}

    assert configuration.resolve(is_success=True)
    assert configuration.accepted == {"keyterm": ["a"]}

    configuration.request(change("b"), now=0)
    configuration.take_message()
    assert configuration.resolve(is_success=False)
    assert configuration.accepted == {"keyterm": ["a"]}


def test_a_second_change_waits_for_no_response(configuration):
    configuration.request(change("a"), now=0)

    refusal = configuration.request(change("b"), now=0)

    assert refusal.upstream["code"] == "CONFIGURE_ALREADY_PENDING"
    assert configuration.take_message()["keyterms"] == ["a"]
    assert configuration.take_message() is None


def test_a_change_without_a_response_is_sent_again_after_a_disconnect(configuration):
    configuration.request(change("a"), now=0)
    configuration.take_message()
    configuration.mark_disconnected()

    assert not configuration.is_sent
    assert configuration.take_message()["keyterms"] == ["a"]
    assert configuration.resolve(is_success=True)
    configuration.mark_disconnected()
    assert configuration.take_message() is None


def test_a_late_response_is_remembered_and_not_sent_twice(configuration):
    configuration.request(change("a"), now=10)
    configuration.take_message()

    assert configuration.give_up(before=9) is None
    assert configuration.give_up(before=10).upstream["type"] == "ConfigureFailure"
    assert configuration.give_up(before=10) is None
    assert not configuration.resolve(is_success=True)
    assert configuration.accepted == {"keyterm": ["a"]}
    assert not configuration.resolve(is_success=True)
