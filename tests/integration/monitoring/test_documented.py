"""docs/metrics.md lists what is exposed: names, types and labels."""

import re

from prometheus_client.metrics import MetricWrapperBase

from jobs.telemetry import metrics as of_jobs
from tests.support import ROOT
from tests.support.factories import make_region
from workers import metrics as of_workers
from workers.monitoring import shared
from workers.monitoring.live_sessions import LiveSessionCollector

PAGE = ROOT / "docs" / "metrics.md"
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*?) ?\|", re.M)


def exposed():
    own = [
        (each._name, each._type, tuple(each._labelnames))
        for module in (of_jobs, of_workers)
        for each in vars(module).values()
        if isinstance(each, MetricWrapperBase)
    ]
    read = [
        (family.name, family.type, tuple(family._labelnames))
        for family in (
            *shared.SharedState().collect(),
            *LiveSessionCollector().collect(),
        )
    ]
    for name, kind, labels in own + read:
        yield name + ("_total" if kind == "counter" else ""), kind, labels


def test_the_table_is_what_is_exposed(transactional_db):
    make_region("eu")
    listed = [
        (name, kind, tuple(filter(None, labels.split(", "))))
        for name, kind, labels in _ROW.findall(PAGE.read_text())
    ]

    assert sorted(listed) == sorted(exposed())
