from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from jobs import services
from jobs.errors import InvalidRequest, JobStateError, NotFound, UpstreamError
from jobs.models import Job, Region, Tenant, Worker
from jobs.routing import regions
from tests.support.fake_backend import FakeBackend


@pytest.fixture
def other(engine) -> Tenant:
    return Tenant.objects.create(name="other")


def shares(jobs: list[Job]) -> Counter:
    return Counter(job.tenant_id for job in jobs)


def test_anothers_urgent_backlog_starves_nobody(engine, other):
    engine.announce(slots=4)
    for _ in range(10):
        engine.submit(priority=0)
    mine = [engine.submit(other, priority=9) for _ in range(10)]

    claimed = engine.tick().claimed

    assert shares(claimed) == {engine.tenant.pk: 2, other.pk: 2}
    assert mine[0].pk in {job.pk for job in claimed}


def test_what_is_in_flight_counts_against_the_next_turn(engine, other):
    engine.announce(slots=3)
    for _ in range(10):
        engine.submit()
    engine.tick()
    engine.announce(slots=5)
    for _ in range(10):
        engine.submit(other)

    assert shares(engine.tick().claimed) == {other.pk: 2}


def test_more_tenants_than_slots_take_turns(engine):
    engine.announce(slots=1)
    tenants = [Tenant.objects.create(name=f"t{n}") for n in range(5)]
    for tenant in tenants:
        for _ in range(3):
            engine.submit(tenant)
    served = []
    for _ in range(5):
        (job,) = engine.tick().claimed
        engine.run(job, FakeBackend())
        served.append(job.tenant_id)

    assert sorted(served) == sorted(tenant.pk for tenant in tenants)


def test_weights_are_shares(engine, other):
    engine.region.max_concurrent = 8
    engine.region.save()
    Tenant.objects.filter(pk=other.pk).update(weight=3)
    for _ in range(10):
        engine.submit()
        engine.submit(other)

    assert shares(engine.tick().claimed) == {engine.tenant.pk: 2, other.pk: 6}


def test_a_limit_in_flight_holds_over_ticks(engine):
    Tenant.objects.update(max_in_flight=2)
    for _ in range(5):
        engine.submit()

    assert len(engine.tick().claimed) == 2
    assert engine.tick().claimed == []


def test_a_paused_tenant_is_passed_over_until_it_is_resumed(engine, other):
    job = engine.submit()
    now = datetime.now(UTC)
    services.pause_tenant(tenant=engine.tenant, now=now)
    theirs = engine.submit(other)

    assert [each.pk for each in engine.tick().claimed] == [theirs.pk]
    services.resume_tenant(tenant=engine.tenant, now=now)
    assert [each.pk for each in engine.tick().claimed] == [job.pk]


def test_a_higher_priority_than_allowed_is_refused(engine):
    engine.tenant.highest_priority = 6

    with pytest.raises(InvalidRequest) as refused:
        engine.submit(priority=3)

    assert refused.value.code == "priority_not_allowed"
    assert not Job.objects.exists()


def test_a_waiting_job_can_be_moved_and_a_claimed_one_cannot(engine):
    engine.announce(slots=1)
    first, second = engine.submit(), engine.submit()
    now = datetime.now(UTC)

    services.reprioritize_job(job=second, priority=0, now=now)

    assert [each.pk for each in engine.tick().claimed] == [second.pk]
    with pytest.raises(JobStateError):
        services.reprioritize_job(job=second, priority=9, now=now)
    assert first.status == "queued"


@pytest.fixture
def europe(engine) -> Region:
    Worker.objects.update(queues=["transcribe.local", "transcribe.eu"])
    return Region.objects.create(name="eu", base_url="http://127.0.0.1:1")


def where(jobs: list[Job]) -> set[str | None]:
    return {job.region_id for job in jobs}


def test_a_job_runs_only_where_it_may(engine, europe):
    for _ in range(3):
        engine.submit(allowed_regions=["eu"])

    assert where(engine.tick().claimed) == {"eu"}


def test_a_tenants_residency_binds_its_jobs(engine, europe):
    engine.tenant.allowed_regions = ["eu"]
    engine.submit()

    assert where(engine.tick().claimed) == {"eu"}
    with pytest.raises(InvalidRequest) as refused:
        engine.submit(allowed_regions=["local"])
    assert refused.value.code == "region_not_allowed"


def test_a_drained_region_gets_nothing_and_its_jobs_wait(engine, europe):
    engine.submit(allowed_regions=["eu"])
    engine.submit()
    regions.apply_action(name="eu", action="drain", now=datetime.now(UTC))

    assert where(engine.tick().claimed) == {"local"}
    regions.apply_action(name="eu", action="undrain", now=datetime.now(UTC))
    assert where(engine.tick().claimed) == {"eu"}


def test_a_pinned_region_takes_whatever_may_run_there(engine, europe):
    regions.apply_action(name="eu", action="pin", now=datetime.now(UTC))
    for _ in range(3):
        engine.submit()
    engine.submit(allowed_regions=["local"])

    claimed = engine.tick().claimed

    assert Counter(job.region_id for job in claimed) == {"eu": 3, "local": 1}


def test_an_unknown_region_cannot_be_steered(engine):
    with pytest.raises(NotFound):
        regions.apply_action(name="mars", action="drain", now=datetime.now(UTC))


def test_a_refused_key_pauses_the_region_and_keeps_the_job(engine):
    job = engine.submit()
    engine.tick()
    error = UpstreamError(
        "x", code="upstream_out_of_credit", failure="account", status=402
    )

    engine.run(job, FakeBackend(error))

    job.refresh_from_db()
    assert (job.status, job.attempt) == ("queued", 0)
    assert Region.objects.get().paused_reason == "upstream_out_of_credit"
    Job.objects.update(run_at=datetime.now(UTC))
    assert engine.tick().claimed == []
    regions.apply_action(name="local", action="resume", now=datetime.now(UTC))
    assert len(engine.tick().claimed) == 1


def test_a_job_fails_over_to_another_allowed_region(engine, europe):
    job = engine.submit()
    Region.objects.filter(name="local").update(
        paused_until=datetime.now(UTC) + timedelta(minutes=1)
    )

    assert where(engine.tick().claimed) == {"eu"}
    assert job.pk


def test_jobs_of_a_full_narrow_pool_take_no_turn_of_the_others(engine):
    engine.region.pools = {"diarize": 1}
    engine.region.save()
    for _ in range(4):
        engine.submit(options={"diarize": True}, priority=0)
    plain = [engine.submit() for _ in range(2)]

    first, second = engine.tick().claimed, engine.tick().claimed

    lanes = Counter(job.lane for job in first + second)
    assert lanes == {"*/diarize": 1, "*": 2}
    assert {job.pk for job in plain} <= {job.pk for job in first + second}


def test_what_waits_longer_than_the_workers_last_is_recalled(engine):
    for _ in range(3):
        engine.submit()
    engine.tick()
    Worker.objects.all().delete()
    now = datetime.now(UTC)
    assert engine.permits_held() == 3

    Job.objects.update(lease_until=now + timedelta(seconds=0.9))
    engine.tick()

    assert set(Job.objects.values_list("status", flat=True)) == {"queued"}
    assert engine.permits_held() == 0
