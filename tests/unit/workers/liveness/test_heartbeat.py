import sys
from unittest.mock import Mock

import pytest

from workers.liveness.heartbeat import Heartbeat
from workers.liveness.startup import SWITCH_SECONDS


@pytest.fixture
def pythons_own():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("pythons_own")
def test_busy_threads_do_not_keep_a_beat_from_its_turn():
    Heartbeat(queues=[], slots=0, permits=Mock()).start()

    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
