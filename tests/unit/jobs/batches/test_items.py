"""Items read after others like them come to what they come to when read alone."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.batches.items import ItemReader, ItemRules
from jobs.models import Tenant
from jobs.routing import regions

pytestmark = pytest.mark.usefixtures("no_regions")

DEFAULTS = {"options": {"diarize": True}, "metadata": {"team": "a"}}
ODD = st.sampled_from(["", "x", "x\0", "é", 1, True, 1.0, None, [], {}, "a" * 3000])
FIELDS = {
    "audio_url": st.sampled_from(
        ["https://a.example.com/1.wav", "https://b.example.com/2", "http://10.0.0.1/x"]
    )
    | ODD,
    "custom_id": st.sampled_from(["1", "2", " 3", "\n"]) | ODD,
    "metadata": st.dictionaries(
        ODD.filter(lambda it: isinstance(it, str)), ODD, max_size=2
    )
    | ODD,
    "options": st.sampled_from([{"diarize": False}, {"smart_format": True}]) | ODD,
    "priority": st.sampled_from(["low", "high"]) | ODD,
    "max_attempts": st.sampled_from([1, True, 1.0, "1", 99]),
    "expires_in_seconds": st.sampled_from([60, 0]),
    "nonsense": ODD,
}
ITEMS = st.fixed_dictionaries(
    {"audio_url": FIELDS["audio_url"]},
    optional={name: kind for name, kind in FIELDS.items() if name != "audio_url"},
) | st.sampled_from([None, [], {}, "x"])


@pytest.fixture(scope="module")
def no_regions():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "read_pools", dict)
        yield


@given(st.lists(ITEMS, max_size=8))
def test_an_item_is_read_as_if_it_were_alone(items):
    rules = build_rules()
    reader = ItemReader(rules)
    seen = set()

    for item in items:
        row, faults = reader.read(item)
        alone, faults_alone = ItemReader(rules).read(item)
        if alone and alone.custom_id and alone.custom_id in seen:
            assert [fault.code for fault in faults] == ["custom_id_repeated"]
            assert row is None
            continue
        if alone:
            seen.add(alone.custom_id)
        assert (row, faults) == (alone, faults_alone)


def test_what_items_say_alike_is_read_once(monkeypatch):
    reader = ItemReader(build_rules())
    real, read = reader._read_full, []
    monkeypatch.setattr(reader, "_read_full", lambda laid: read.append(1) or real(laid))

    rows = [
        reader.read({"audio_url": f"https://a.example.com/{n}", "priority": priority})
        for n in range(5)
        for priority in ("low", "normal")
    ]

    assert len({row.audio_url for row, _ in rows}) == 5
    assert len(read) == 2


def test_kinds_are_not_kept_without_end():
    reader = ItemReader(build_rules())

    for n in range(1, 300):
        row, _ = reader.read(
            {"audio_url": "https://a.example.com/1", "expires_in_seconds": n}
        )
        assert row

    assert len(reader._templates) == 100


def build_rules():
    return ItemRules(
        tenant=Tenant(name="t"),
        api_key=None,
        defaults=DEFAULTS,
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )
