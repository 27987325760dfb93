"""Receivers that take 15 s each: their effect on the webhooks of other endpoints.

One webhook worker of twenty threads and one dispatcher. Ten tenants with a fast endpoint
get twenty events a second in total, first alone, then beside four tenants whose
endpoints respond after 15 s and have more due deliveries than can be sent; twice,
alternating. Judged: the p95 of the fast ones from the event's commit to its arrival,
beside the slow ones relative to alone. The slow ones succeed (attempts may take 20 s
here), so their circuits stay closed and they use all the threads that they may. Last:
how many deliveries a second one worker process makes.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

from django.db.utils import OperationalError
from django.utils import timezone

from jobs.models import Event, new_id
from tests.bench import ours, upstream
from tests.bench.rows import Row, at_most, percentile
from tests.bench.stage import Stage, wait_for
from tests.bench.upstream import Customer
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

WELL, SLOW = 10, 4
THREADS = 20
SECONDS, PER_SECOND = 20.0, 20
ROUNDS = 2
SLOW_DUE = 300
SLOW_SECONDS = 15.0  # as the sink has it
FLOOD = 3000
MOST_RATIO = 1.2


def run(stage: Stage) -> list[Row]:
    """Run the rounds, and then the flood."""
    environment = {"WEBHOOK_TIMEOUT_SECONDS": "20"}
    with upstream.customer(stage) as customer:
        well = make_endpoints("well", WELL, f"{customer.url}/hook")
        slow = make_endpoints("slow", SLOW, f"{customer.url}/slow")
        with ours.platform(
            stage,
            workers={},
            webhook_threads=THREADS,
            has_web=False,
            environment=environment,
        ) as platform:
            alone: list[float] = []
            beside: list[float] = []
            measure(well, customer, seconds=2)  # connections and clients are made
            for _ in range(ROUNDS):
                alone += measure(well, customer)
                occupy(slow)
                beside += measure(well, customer)
                give_up(slow)
            process = platform.processes["webhooks"]
            before = process.cpu_seconds()
            took = flood(well, customer)
            cpu = process.cpu_seconds() - before
    return [
        judge(alone, beside),
        Row(
            bench="receivers",
            figure=f"deliveries a second of one worker process, {FLOOD:,} due at once",
            ours=f"{FLOOD / took:.0f} ({1000 * cpu / FLOOD:.1f} ms of its CPU each)",
        ),
    ]


def make_endpoints(name: str, number: int, url: str) -> list[WebhookEndpoint]:
    """Make as many tenants with an endpoint each."""
    return [
        WebhookEndpoint.objects.create(
            tenant=ours.make_tenant(f"{name}-{index}"), url=f"{url}/{index}"
        )
        for index in range(number)
    ]


def measure(
    endpoints: Sequence[WebhookEndpoint],
    customer: Customer,
    *,
    seconds: float = SECONDS,
) -> list[float]:
    """Write events at an even pace; return the seconds each took to arrive."""
    customer.forget()
    written_at: dict[str, float] = {}
    began = time.monotonic()
    for number in range(int(seconds * PER_SECOND)):
        time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
        event = build_event(endpoints[number % len(endpoints)])
        event.save(force_insert=True)
        written_at[event.data["id"]] = time.monotonic()
    wait_for(lambda: customer.count() >= len(written_at), "the webhooks do not arrive")
    return [at - written_at[name] for at, name, _signed in customer.webhooks()]


def occupy(endpoints: Sequence[WebhookEndpoint]) -> None:
    """Give the slow ones more than can be sent, and wait until they hold their share."""
    Event.objects.bulk_create(
        build_event(endpoint) for endpoint in endpoints for _ in range(SLOW_DUE)
    )
    in_hand = WebhookDelivery.objects.filter(endpoint__in=endpoints, is_claimed=True)
    wait_for(lambda: in_hand.count() >= THREADS // 2, "the slow ones get no threads")


def give_up(endpoints: Sequence[WebhookEndpoint]) -> None:
    """Forget what the slow ones are owed, and let the threads end."""
    waiting = WebhookDelivery.objects.filter(endpoint__in=endpoints, is_claimed=False)

    def is_over() -> bool:
        with suppress(OperationalError):  # a claim was being made
            waiting.delete()
        left = WebhookDelivery.objects.filter(
            endpoint__in=endpoints, next_attempt_at__isnull=False
        )
        return not left.exists()

    wait_for(is_over, "the slow ones do not end", seconds=4 * SLOW_SECONDS)


def flood(endpoints: Sequence[WebhookEndpoint], customer: Customer) -> float:
    """Have thousands due at once; return the seconds until all have arrived."""
    customer.forget()
    Event.objects.bulk_create(
        build_event(endpoints[number % len(endpoints)]) for number in range(FLOOD)
    )
    began = time.monotonic()
    wait_for(lambda: customer.count() >= FLOOD, "the flood does not end", seconds=300.0)
    return max(at for at, _, _ in customer.webhooks()) - began


def build_event(endpoint: WebhookEndpoint) -> Event:
    """Return an event of the endpoint's tenant that the sink can name."""
    return Event(
        tenant_id=endpoint.tenant_id,
        type="job.completed",
        data={"id": str(new_id())},
        created_at=timezone.now(),
    )


def judge(alone: Sequence[float], beside: Sequence[float]) -> Row:
    """Compare the two p95."""
    quiet, busy = (percentile(each, 0.95) * 1000 for each in (alone, beside))
    return Row(
        bench="receivers",
        figure=f"well endpoints' p95 beside {SLOW} of 15 s, alone",
        ours=f"{busy:.0f} ms, {quiet:.0f} ms",
        **at_most(busy / quiet, MOST_RATIO),
    )
