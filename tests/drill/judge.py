"""What must hold when regions die, beside what `make chaos` asks of one."""

from collections.abc import Iterator

from tests.chaos import invariants
from tests.chaos.platform import Mark
from tests.drill.load import Sent
from tests.drill.stand import Drill

SLACK = 0.2
UNAVAILABLE = 503
IN_FLIGHT = 409


def find_broken(drill: Drill, sent: list[Sent]) -> list[str]:
    """Return a sentence for everything that does not hold; all has settled."""
    return [
        *invariants.find_broken(invariants.gather(drill)),
        *no_request_failed_without_need(drill.marks, sent),
        *residency_was_kept(drill),
        *rows_name_the_upstream_that_was_asked(drill),
    ]


def no_request_failed_without_need(
    marks: list[Mark], sent: list[Sent]
) -> Iterator[str]:
    """Only in flight on a killed door, or when there was no door: 503, Retry-After.

    A synchronous call that was in flight is still at its door to whoever repeats it
    (409), until the queue has it.
    """
    kills = [mark.at for mark in marks if mark.what.startswith("kill web-")]
    downs = [mark for mark in marks if mark.what == "all doors down"]
    caught = {each.key for each in sent if each.key and _was_in_flight(each, kills)}
    for each in filter(lambda one: one.failed, sent):
        had_none = (
            each.status == UNAVAILABLE
            and each.retry_after
            and any(
                down.at <= each.ended and each.began <= down.until for down in downs
            )
        )
        is_at_the_door = each.status == IN_FLIGHT and each.key in caught
        if not (_was_in_flight(each, kills) or had_none or is_at_the_door):
            yield f"a {each.kind} failed: {each.status} {each.error}"


def _was_in_flight(one: Sent, kills: list[float]) -> bool:
    return any(one.began - SLACK <= at <= one.ended + SLACK for at in kills)


def residency_was_kept(drill: Drill) -> Iterator[str]:
    """By the upstreams' own logs: no bound job was ever sent elsewhere."""
    bound = {
        drill.accepted[key]: region
        for key, region in drill.bound.items()
        if key in drill.accepted
    }
    for region, upstream in drill.upstreams.each.items():
        for call in upstream.calls.values():
            tags = (tag.removeprefix("job:") for tag in call["tags"])
            for job in tags:
                if bound.get(job, region) != region:
                    yield f"job {job} of {bound[job]} was sent to {region}"


def rows_name_the_upstream_that_was_asked(drill: Drill) -> Iterator[str]:
    """The ledger's region is where the call is in the log."""
    rows = drill.rows("SELECT request_id, region_id FROM jobs_attempt")
    told = {str(request_id): str(region) for request_id, region in rows if request_id}
    for region, upstream in drill.upstreams.each.items():
        for request_id in upstream.calls:
            if told.get(request_id, region) != region:
                yield f"call {request_id} of {told[request_id]} was made in {region}"
