import pytest

from workers.emulator import faults


def subject(*tags: str, content: str = "sha", url: str = "") -> faults.Subject:
    return faults.Subject(
        tags=tags, path="/v1/listen", model="nova-3", url=url, content=content
    )


def names(
    plan: faults.FaultPlan, call: faults.Subject, *, kinds=faults.LATE
) -> list[str]:
    return [fault.name for fault in plan.choose(call, kinds)]


@pytest.mark.parametrize(
    ("tag", "kind", "status", "value", "times", "headers"),
    [
        ("emu:429", "status", 429, None, None, {}),
        ("emu:429x2ra1", "status", 429, None, 2, {"retry-after": "1"}),
        ("emu:503ra0.5", "status", 503, None, None, {"retry-after": "0.5"}),
        ("emu:delay5", "delay", 0, 5.0, None, {}),
        ("emu:delay0.5x3", "delay", 0, 0.5, 3, {}),
        ("emu:dripx1", "drip", 0, None, 1, {}),
        ("emu:rstx2", "rst", 0, None, 2, {}),
        ("emu:noread10", "noread", 0, 10.0, None, {}),
    ],
)
def test_a_tag_is_taken_apart(tag, kind, status, value, times, headers):
    fault, found_times = faults.parse_tag(tag)

    assert (fault.kind, fault.status, fault.value) == (kind, status, value)
    assert found_times == times
    assert fault.headers == headers
    assert fault.name == tag.removeprefix("emu:")


@pytest.mark.parametrize("tag", ["", "503", "emu:", "emu:99", "emu:boom", "emu:503x"])
def test_other_tags_are_left_alone(tag):
    assert faults.parse_tag(tag) is None


@pytest.mark.parametrize(
    ("tag", "seconds"), [("emu:delay", 1.0), ("emu:delay0", 0.0), ("emu:503", 0.0)]
)
def test_only_a_delay_waits(tag, seconds):
    fault, _ = faults.parse_tag(tag)

    assert fault.delay_seconds == seconds


def test_a_job_is_counted_over_different_audio_and_the_other_way_round():
    plan = faults.FaultPlan(seed=0)

    by_job = [names(plan, subject("emu:500x1", "job:1", content=c)) for c in "ab"]
    by_audio = [names(plan, subject("emu:500x1", content=c)) for c in "aba"]

    assert by_job == [["500x1"], []]
    assert by_audio == [["500x1"], ["500x1"], []]


def test_faults_come_one_after_another_in_the_order_of_the_tags():
    plan = faults.FaultPlan(seed=0)
    call = subject("emu:delay1", "job:1", "emu:503x1", "emu:html")

    assert names(plan, call) == ["delay1", "503x1", "html"]
    assert names(plan, call) == ["delay1", "html"]


def test_a_fault_is_counted_only_at_its_own_point():
    plan = faults.FaultPlan(seed=0)
    call = subject("emu:rstx1", "emu:503x1")

    assert names(plan, call, kinds=faults.EARLY) == ["rstx1"]
    assert names(plan, call) == ["503x1"]
    assert names(plan, call, kinds=faults.EARLY) == []


@pytest.mark.parametrize(
    ("match", "is_hit"),
    [
        ({}, True),
        ({"tag": "ob:1"}, True),
        ({"tag": "job:2"}, False),
        ({"path": "listen", "model": "nova"}, True),
        ({"model": "nova", "url": "b.example"}, False),
        ({"url": "a.example"}, True),
    ],
)
def test_a_rule_needs_every_part_of_its_match(match, is_hit):
    plan = faults.FaultPlan(seed=0)
    plan.add([{"match": match, "kind": "html"}])

    found = names(plan, subject("job:1", url="https://a.example/x"))

    assert bool(found) is is_hit


def test_another_seed_strikes_other_calls():
    struck = []
    for seed in (1, 1, 2):
        plan = faults.FaultPlan(seed=seed)
        plan.add([{"probability": 0.3, "status": 500}])
        calls = (subject(f"job:{n}") for n in range(100))
        struck.append([bool(names(plan, call)) for call in calls])

    assert struck[0] == struck[1] != struck[2]
    assert 15 < sum(struck[0]) < 45


def test_a_repeated_call_draws_again():
    plan = faults.FaultPlan(seed=0)
    plan.add([{"probability": 0.5, "status": 500}])

    draws = {bool(names(plan, subject("job:1"))) for _ in range(30)}

    assert draws == {True, False}


def test_clearing_forgets_rules_and_counts():
    plan = faults.FaultPlan(seed=0)
    plan.add([{"status": 500, "times": 1}])
    names(plan, subject("emu:503x1"))

    plan.clear()

    assert plan.describe() == []
    assert names(plan, subject("emu:503x1")) == ["503x1"]


@pytest.mark.parametrize(
    "source",
    [
        {"status": 99},
        {"kind": "status"},
        {"kind": "boom"},
        {"status": 503, "per": "day"},
        {"status": 503, "probability": 2},
        {"match": {"key": "x"}, "status": 503},
        {"statuss": 503},
    ],
)
def test_a_mistaken_rule_is_refused(source):
    with pytest.raises(faults.InvalidRule):
        faults.parse_rule(source, number=1)
