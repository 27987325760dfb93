from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from jobs.scheduling.fairness import (
    MAX_REMEMBERED,
    RoundRobin,
    TenantLoad,
    next_tenants,
)

A, B, C = (UUID(int=n) for n in (1, 2, 3))


def load(tenant: UUID, *, in_flight=0, weight=1, limit=None) -> TenantLoad:
    return TenantLoad(
        tenant=tenant, weight=weight, in_flight=in_flight, max_in_flight=limit
    )


def test_a_newcomer_catches_up_first():
    turns = next_tenants([load(A, in_flight=3), load(B)], slots=4)

    assert turns == [B, B, B, A]


def test_equals_take_turns():
    assert next_tenants([load(A), load(B)], slots=4) == [A, B, A, B]


def test_weights_are_shares():
    turns = Counter(next_tenants([load(A, weight=3), load(B)], slots=40))

    assert turns == {A: 30, B: 10}


def test_a_limit_in_flight_holds():
    turns = next_tenants([load(A, limit=2, in_flight=1), load(B)], slots=5)

    assert Counter(turns) == {A: 1, B: 4}


def test_equals_take_turns_from_one_tick_to_the_next():
    round_robin, tenants = RoundRobin(), [A, B, C]
    served = []
    for _ in range(6):
        loads = [
            TenantLoad(
                tenant=t,
                weight=1,
                in_flight=0,
                last_served=round_robin.last_served_of(t),
            )
            for t in tenants
        ]
        turns = next_tenants(loads, slots=1)
        round_robin.record(turns)
        served += turns

    assert served == [A, B, C, A, B, C]


def test_the_memory_of_turns_is_bounded():
    round_robin = RoundRobin()

    round_robin.record(UUID(int=n) for n in range(MAX_REMEMBERED + 5))

    assert round_robin.last_served_of(UUID(int=4)) == 0
    assert round_robin.last_served_of(UUID(int=5)) == 6


def test_nobody_with_work_leaves_nobody_a_turn():
    assert next_tenants([load(A, limit=0)], slots=5) == []


@given(
    held=st.lists(st.integers(0, 50), min_size=1, max_size=8),
    slots=st.integers(0, 60),
)
def test_the_least_held_is_raised_before_anyone_above_it(held, slots):
    loads = [load(UUID(int=n), in_flight=count) for n, count in enumerate(held)]

    granted = Counter(next_tenants(loads, slots=slots))

    after = {each.tenant: each.in_flight + granted[each.tenant] for each in loads}
    assert sum(granted.values()) == slots
    raised = [after[tenant] for tenant in granted]
    if raised:
        assert max(raised) - min(after.values()) <= 1
