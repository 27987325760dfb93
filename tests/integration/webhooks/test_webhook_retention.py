"""The log is kept for its days and not longer."""

from datetime import timedelta

from jobs.models import new_id
from tests.support.webhooks import START, make_due
from workers.queue import tasks
from workers.webhooks.delivery import retention
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)

DAYS_30 = timedelta(days=30)


def make_log(world, *, ages: list[timedelta]) -> list[WebhookDelivery]:
    """Make deliveries whose ids are as old as they are, each with an attempt."""
    endpoint = make_due(world, len(ages))
    found = []
    for delivery, age in zip(WebhookDelivery.objects.all(), ages, strict=True):
        made_at = START - age
        old = WebhookDelivery.objects.get(pk=delivery.pk)
        WebhookDelivery.objects.filter(pk=delivery.pk).delete()
        random_part = new_id().int & ((1 << 80) - 1)
        old.pk = type(delivery.pk)(int=retention.min_id_at(made_at).int | random_part)
        old.created_at = made_at
        old.save(force_insert=True)
        DeliveryAttempt.objects.create(
            delivery=old, claim_token=1, started_at=made_at, duration_ms=1
        )
        WebhookRecovery.objects.create(
            endpoint=endpoint, since=made_at, until=made_at, created_at=made_at
        )
        found.append(old)
    return found


def test_what_is_older_than_thirty_days_goes_with_its_attempts(world):
    hour = timedelta(hours=1)
    _old, kept, new = make_log(world, ages=[DAYS_30 + hour, DAYS_30 - hour, hour])

    assert retention.purge_old_deliveries(now=START) == 1

    rows = WebhookDelivery.objects.order_by("pk")
    assert list(rows) == [kept, new]
    assert DeliveryAttempt.objects.count() == 2
    assert WebhookRecovery.objects.count() == 2


def test_it_goes_in_batches_and_the_days_are_a_setting(world, monkeypatch, settings):
    settings.WEBHOOK_LOG_DAYS = 1
    monkeypatch.setattr(retention, "BATCH_SIZE", 2)
    make_log(world, ages=[timedelta(days=2)] * 5)

    assert retention.purge_old_deliveries(now=START) == 5
    assert not DeliveryAttempt.objects.exists()


def test_a_deleted_endpoint_goes_after_its_log(world):
    gone = {"url": "", "is_enabled": False}
    world.endpoint(**gone, deleted_at=START - DAYS_30 - timedelta(seconds=1))
    lately = world.endpoint(**gone, deleted_at=START - DAYS_30)
    with_log = make_due(world, 1)
    WebhookEndpoint.objects.filter(pk=with_log.pk).update(
        **gone, deleted_at=START - 2 * DAYS_30
    )
    there = world.endpoint()

    retention.purge_old_deliveries(now=START)

    left = set(WebhookEndpoint.objects.values_list("pk", flat=True))
    assert left == {lately.pk, with_log.pk, there.pk}


def test_one_sweep_takes_so_much_and_no_more(world, monkeypatch):
    monkeypatch.setattr(retention, "BATCH_SIZE", 2)
    monkeypatch.setattr(retention, "BATCHES_PER_SWEEP", 2)
    make_log(world, ages=[2 * DAYS_30] * 5)

    assert retention.purge_old_deliveries(now=START) == 4
    assert WebhookDelivery.objects.count() == 1


def test_the_hourly_sweep_does_it(world, monkeypatch):
    seen = []
    monkeypatch.setattr(
        retention, "purge_old_deliveries", lambda *, now: seen.append(now)
    )

    tasks.sweep()

    assert len(seen) == 1
