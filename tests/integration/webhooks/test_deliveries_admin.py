"""The operator's pages: to look at, and to have something sent again."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from jobs.models import Event
from tests.support.webhooks import START
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery

PAGE = "/admin/webhooks/webhookdelivery/"


@pytest.fixture
def operator(db) -> Client:
    user = get_user_model().objects.create_superuser("ops", password="x")
    client = Client()
    client.force_login(user)
    return client


def send_again(client: Client, *deliveries: WebhookDelivery) -> str:
    chosen = {"_selected_action": [str(each.pk) for each in deliveries]}
    answer = client.post(
        PAGE, {"action": "redeliver", "confirmed": 1, **chosen}, follow=True
    )
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_delivery_is_looked_at_without_its_bytes_and_the_callbacks_secret(
    world, operator
):
    world.event(world.job("private words", callback_url="https://c.example/?t=secret"))
    world.fan_out()
    delivery = WebhookDelivery.objects.get()
    WebhookDelivery.objects.update(body=b"private words")
    DeliveryAttempt.objects.create(
        delivery=delivery,
        claim_token=1,
        started_at=START,
        duration_ms=7,
        response_excerpt="private answer",
    )

    pages = [operator.get(PAGE), operator.get(f"{PAGE}{delivery.pk}/change/")]

    for page in pages:
        assert page.status_code == 200
        assert str(delivery.pk) in page.content.decode()
        assert "private" not in page.content.decode()
        assert "secret" not in page.content.decode()


def test_it_is_not_changed_there(world, operator):
    delivery = world.delivery("https://hooks.example/")

    operator.post(f"{PAGE}{delivery.pk}/change/", {"status": "failed"})
    operator.post(f"{PAGE}{delivery.pk}/delete/", {"post": "yes"})

    delivery.refresh_from_db()
    assert delivery.status == "pending"
    assert operator.get(f"{PAGE}add/").status_code == 403


def test_an_operator_has_it_sent_again_and_is_on_record(world, operator, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    gone = world.delivery("https://gone.example/")
    WebhookDelivery.objects.exclude(pk=delivery.pk).update(
        status="failed", finished_at=START, next_attempt_at=None, attempts=1
    )
    world.run()

    page = send_again(operator, delivery, gone)

    assert "Send again: 1 done." in page
    assert "no longer stored" in page
    world.pass_time(10**6)  # the page is of today
    assert world.run() == 1
    assert len(receiver.received) == 2
    event = Event.objects.get(type="webhook_delivery.redelivered")
    assert (event.actor, event.data) == (
        "admin:ops",
        {"delivery_id": str(delivery.pk)},
    )


def test_who_may_only_look_cannot_send(world, listen):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    world.run()
    user = get_user_model().objects.create_user("looker", is_staff=True)
    client = Client()
    client.force_login(user)

    answer = client.post(
        PAGE, {"action": "redeliver", "_selected_action": [str(delivery.pk)]}
    )

    assert answer.status_code == 403
    assert world.run() == 0
