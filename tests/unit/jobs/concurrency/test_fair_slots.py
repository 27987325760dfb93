import time
from contextlib import ExitStack
from threading import Thread

import pytest

from jobs.concurrency.fair_slots import FairSlots


class Waiting:
    """Someone who waits for a slot in a thread, and gives it back when told."""

    def __init__(self, slots, tenant, started):
        self.tenant = tenant
        self._stack = ExitStack()
        self._thread = Thread(target=self._wait, args=(slots, started))
        self._thread.start()

    def _wait(self, slots, started):
        assert self._stack.enter_context(slots.acquire(self.tenant, timeout=10))
        started.append(self.tenant)

    def join(self):
        self._thread.join(10)
        return self

    def give_back(self):
        self.join()._stack.close()


def wait_in_turn(slots, tenants, started):
    """Begin to wait one after the other, in this order."""
    waiting = []
    for tenant in tenants:
        number = len(slots._waiting)
        waiting.append(Waiting(slots, tenant, started))
        give_up = time.monotonic() + 10
        while len(slots._waiting) == number:
            assert time.monotonic() < give_up
            time.sleep(0.001)
    return waiting


def take(stack, slots, tenant):
    return stack.enter_context(slots.acquire(tenant, timeout=0))


@pytest.mark.parametrize(("places", "alone"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 7)])
def test_alone_a_tenant_gets_all_slots_but_one(places, alone):
    slots = FairSlots(places)

    with ExitStack() as stack:
        got = [take(stack, slots, "busy") for _ in range(places + 2)]

        assert got == [True] * alone + [False] * (places + 2 - alone)
        assert take(stack, slots, "other") == (places > 1)


def test_slots_that_were_given_back_are_there_again():
    slots = FairSlots(4)
    with ExitStack() as stack:
        assert all(take(stack, slots, "busy") for _ in range(3))

    with ExitStack() as stack:
        assert all(take(stack, slots, "busy") for _ in range(3))
    assert not slots._used


def test_a_slot_goes_to_the_tenant_that_holds_fewest_then_to_the_first():
    slots, started = FairSlots(4), []
    with ExitStack() as one, ExitStack() as rest:
        assert take(one, slots, "busy")
        assert all(take(rest, slots, name) for name in ("busy", "busy", "other"))
        tenants = ["busy", "other", "third", "fourth"]
        busy, other, third, fourth = wait_in_turn(slots, tenants, started)

        one.close()
        third.give_back()
        fourth.give_back()
        other.give_back()
        busy.give_back()

        assert started == ["third", "fourth", "other", "busy"]
    assert not slots._used
    assert not slots._waiting


def test_while_others_wait_a_tenant_gets_no_more_than_half():
    slots, started = FairSlots(4), []
    with ExitStack() as first, ExitStack() as rest, ExitStack() as other:
        assert take(first, slots, "busy")
        assert all(take(rest, slots, "busy") for _ in range(2))
        assert take(other, slots, "other")
        waiting = wait_in_turn(slots, ["busy", "busy", "late"], started)

        first.close()
        waiting[2].join()

        assert started == ["late"]
        assert slots._used == {"busy": 2, "other": 1, "late": 1}
        waiting[2].give_back()
        waiting[0].join()
        assert slots._used == {"busy": 3, "other": 1}
        rest.close()
        waiting[0].give_back()
        waiting[1].give_back()
    assert not slots._used


def test_who_waits_in_vain_leaves_nothing():
    slots = FairSlots(1)
    with ExitStack() as stack:
        assert take(stack, slots, "one")
        with slots.acquire("two", timeout=0.01) as has_slot:
            assert not has_slot

    assert not slots._used
    assert not slots._waiting
