import pytest

from jobs.concurrency.fair_semaphore import FairSemaphore


@pytest.mark.parametrize(
    ("places", "alone"), [(1, 1), (2, 1), (4, 3), (6, 4), (40, 32)]
)
def test_alone_a_tenant_gets_four_fifths_and_a_newcomer_finds_it_open(places, alone):
    gate = FairSemaphore(places)

    assert sum(gate.acquire("greedy") for _ in range(2 * places)) == alone
    assert gate.acquire("newcomer") == (places > 1)


def test_what_was_left_can_be_entered_again():
    gate = FairSemaphore(4)
    while gate.acquire("one"):
        pass

    gate.release("one")

    assert gate.acquire("one")
    assert not gate.acquire("one")
