from collections import Counter
from uuid import UUID

from workers.webhooks.delivery import shares
from workers.webhooks.delivery.shares import DueDelivery, InFlightCounts

LOUD, QUIET = UUID(int=1), UUID(int=2)


def due(
    number: int, target: str = "a", tenant: UUID = LOUD, **facts
) -> list[DueDelivery]:
    return [
        DueDelivery(id=UUID(int=n), tenant_id=tenant, target=target, **facts)
        for n in range(number)
    ]


def started(
    *queues: list[DueDelivery], slots: int, held: InFlightCounts | None = None
) -> Counter[str]:
    chosen = shares.choose(
        [each for queue in queues for each in queue],
        in_flight=held or InFlightCounts(),
        slots=slots,
    )
    return Counter(each.target for each in chosen)


def test_one_target_gets_ten_however_many_slots_there_are():
    assert started(due(10_000), slots=1000) == {"a": 10}


def test_one_target_leaves_half_of_few_slots_free():
    assert started(due(100), slots=8) == {"a": 4}
    assert started(due(100), slots=1) == {"a": 1}


def test_what_is_on_its_way_counts():
    held = InFlightCounts()
    held.add(tenant_id=LOUD, target="a", number=9)

    assert started(due(100), slots=100, held=held) == {"a": 1}
    assert held.by_target["a"] == 10


def test_nothing_starts_without_slots():
    held = InFlightCounts()
    held.add(tenant_id=LOUD, target="a", number=5)

    assert started(due(3), slots=0) == {}
    assert started(due(3, "b"), slots=5, held=held) == {}
    assert started(due(3, "b"), slots=3, held=held) == {}


def test_a_newcomer_finds_a_slot_beside_a_tenant_with_many_slow_targets():
    crowd = [each for n in range(50) for each in due(10, f"slow-{n}")]

    found = started(crowd, due(1, "new", QUIET), slots=20)

    assert found["new"] == 1
    assert sum(found.values()) == 17  # the crowd has four fifths of the slots


def test_an_endpoint_may_be_given_another_number():
    assert started(due(100, max_concurrent=3), slots=100) == {"a": 3}
    assert started(due(100, max_concurrent=50), slots=200) == {"a": 50}
    assert started(due(100, max_concurrent=50), slots=20) == {
        "a": 10
    }  # half of the slots


def test_the_order_given_is_the_order_started():
    first, second = due(1, "a"), due(1, "b")

    chosen = shares.choose(second + first, in_flight=InFlightCounts(), slots=10)

    assert chosen == second + first
