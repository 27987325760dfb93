"""Events become deliveries: once each, whoever and however often it is tried."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from jobs.models import Event, Job, Tenant
from tests.support.parallel import in_parallel
from tests.support.webhooks import START, World
from workers.webhooks.delivery import fan_out as fanning
from workers.webhooks.models import WebhookDelivery


def fan_out(limit: int = 100) -> int:
    return fanning.fan_out(limit=limit, now=START)


def targets() -> set[str]:
    return {
        delivery.endpoint.description if delivery.endpoint else delivery.url
        for delivery in WebhookDelivery.objects.select_related("endpoint")
    }


def test_an_event_goes_to_every_endpoint_that_wants_it_and_to_the_callback(world):
    world.endpoint(description="all")
    world.endpoint(description="wants it", event_types=["job.completed"])
    world.endpoint(description="wants another", event_types=["job.failed"])
    world.endpoint(description="off", is_enabled=False)
    world.endpoint(
        description="somebody else's", tenant=Tenant.objects.create(name="other")
    )
    event = world.event(world.job(callback_url="https://Call.example:8443/back?a=1"))

    assert fan_out() == 1

    assert targets() == {"all", "wants it", "https://Call.example:8443/back?a=1"}
    event.refresh_from_db()
    assert event.fanned_out_at == START
    callback = WebhookDelivery.objects.get(endpoint=None)
    assert callback.target == f"{world.tenant.pk.hex} call.example:8443"
    assert (callback.tenant, callback.event, callback.job) == (
        world.tenant,
        event,
        event.job,
    )


def test_an_event_that_nobody_wants_is_done_and_done_events_stay_so(world):
    world.event()

    assert [fan_out(), fan_out()] == [1, 0]
    assert not WebhookDelivery.objects.exists()


def test_the_oldest_go_first_up_to_the_limit(world):
    world.endpoint()
    events = [world.event() for _ in range(5)]

    assert fan_out(limit=3) == 3

    left = Event.objects.filter(fanned_out_at=None).order_by("id")
    assert list(left) == events[3:]


def test_fanning_out_again_after_a_crash_makes_nothing_twice(world):
    world.endpoint()
    world.event(world.job(callback_url="https://call.example/"))
    fan_out()
    Event.objects.update(fanned_out_at=None)

    assert fan_out() == 1
    assert WebhookDelivery.objects.count() == 2


def test_a_callback_url_that_cannot_be_read_stops_nobody(world):
    world.event(world.job(callback_url="//["))
    world.event(world.job(callback_url="https://call.example/"))

    assert fan_out() == 2
    assert targets() == {"//[", "https://call.example/"}


def many_events(world: World, number: int) -> None:
    jobs = [
        Job(
            tenant=world.tenant,
            audio_url="https://a.example/",
            callback_url="http://c/",
        )
        for _ in range(number)
    ]
    Job.objects.bulk_create(jobs)
    Event.objects.bulk_create(
        Event(tenant=world.tenant, job=job, type="job.completed", created_at=START)
        for job in jobs
    )


def test_the_number_of_statements_does_not_grow_with_the_number_of_events(world):
    for _ in range(3):
        world.endpoint()
    statements = []
    for number in (1, 200):
        many_events(world, number)
        with CaptureQueriesContext(connection) as captured:
            assert fan_out(limit=1000) == number
        statements.append(len(captured))

    assert statements[0] == statements[1] <= 6
    assert WebhookDelivery.objects.count() == 201 * 4


@pytest.mark.django_db(transaction=True)
def test_four_dispatchers_at_once_make_one_delivery_each():
    world = World()
    world.endpoint()
    many_events(world, 300)

    def drain() -> int:
        done = 0
        while found := fan_out(limit=20):
            done += found
        return done

    done = in_parallel(4, drain)

    assert sum(done) == 300
    assert WebhookDelivery.objects.count() == 600
    assert not Event.objects.filter(fanned_out_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_an_event_whose_fan_out_another_process_has_in_hand_is_left_to_it():
    world = World()
    many_events(world, 2)
    first = Event.objects.order_by("id")[:1]

    with transaction.atomic():
        list(first.select_for_update())
        (done,) = in_parallel(1, fan_out)

    assert done == 1
    assert fan_out() == 1
