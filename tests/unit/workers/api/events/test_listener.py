import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from jobs.api.event_stream import EventFilters, EventPosition, StreamedEvent
from workers.api.events.listener import EventListener

ONE = UUID(int=1)


def told(xid, number=1):
    return StreamedEvent(
        position=EventPosition(xid, UUID(int=number)),
        tenant_id=ONE,
        type="job.queued",
        job_id=ONE,
        batch_id=None,
        data={},
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_what_was_read_before_the_hub_offered_it_is_not_handed_out_again():
    async def take():
        listener = EventListener(
            EventFilters(tenant_id=ONE),
            after=EventPosition(5),
            key_id=ONE,
            address=None,
        )
        for each in (told(4), told(5, 2), told(6), told(6), told(7)):
            listener.offer(each, b"")
        return [row.position for row, _encoded in listener.take()]

    taken = asyncio.run(take())

    assert taken == [told(5, 2).position, told(6).position, told(7).position]


@pytest.mark.parametrize("text", ["", "1", "x-" + str(ONE), f"²-{ONE}", f"1-{ONE}x"])
def test_a_position_is_read_strictly(text):
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says, the view has a text
        EventPosition.parse(text)


def test_a_position_is_read_as_it_was_written():
    position = told(734021, 7).position

    assert EventPosition.parse(str(position)) == position
