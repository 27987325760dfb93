"""The rows that a fuzz run begins with, and what must hold of them when it ends."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db.models import Count

from jobs.models import Batch, Job, Tenant
from jobs.state import JobStatus
from tests.fuzz.calls import Pool, Template
from tests.support.factories import (
    make_job,
    make_key,
    make_region,
    make_tenant,
    make_transcript,
)

RAW = json.dumps(
    {
        "metadata": {"duration": 2.5},
        "results": {
            "channels": [{"alternatives": [{"transcript": "hello", "words": []}]}]
        },
    }
).encode()


def make_rows() -> tuple[Tenant, list[str], list[str]]:
    """Migrate, and return a tenant, its keys and the ids of the jobs."""
    call_command("migrate", verbosity=0)
    make_region()
    ours, theirs = make_tenant(), make_tenant()
    jobs = [make_job(ours, status=status) for status in JobStatus for _ in range(3)]
    jobs.append(make_job(theirs))
    for job in jobs:
        if job.status == JobStatus.COMPLETED:
            make_transcript(job, RAW)
    full, narrow = make_key(ours)[1], make_key(ours, scopes=("jobs:read",))[1]
    other = make_key(theirs)[1]
    return ours, [*[full] * 8, narrow, other], [str(job.pk) for job in jobs]


def make_pool(port: int, templates: list[Template], keys: list[str]) -> Pool:
    """Submit each operation's example once, and list every collection's ids.

    The keys that the run itself uses are left out: they would be revoked.
    """
    ids: dict[str, list[str]] = {}
    own = {key.split("_")[2] for key in keys}
    for template in templates:
        if template.method == "POST" and "{" not in template.path and template.examples:
            _ask(port, keys[0], template.path, template.examples[0])
    for template in templates:
        if template.method == "GET" and "{" not in template.path:
            found = _ask(port, keys[0], template.path)
            rows = found.get("data", []) if isinstance(found, dict) else []
            named = [row["id"] for row in rows if isinstance(row, dict) and "id" in row]
            ids[template.path.split("/")[-1]] = [it for it in named if it not in own]
    ids["transcripts"] = ids["jobs"]
    return Pool(keys=keys, ids=ids)


def _ask(port: int, key: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except (urllib.error.HTTPError, ValueError):
        return None


def find_half_written(answered: set[str]) -> Iterator[str]:
    """Yield what is written by halves; ``answered`` are ids of jobs and batches."""
    jobs = list(Job.objects.annotate(told=Count("events")))
    batches = list(Batch.objects.annotate(members=Count("jobs")))
    alone = {str(job.pk) for job in jobs if job.batch_id is None}
    there = {str(row.pk) for row in (*jobs, *batches)}
    yield from (f"{pk} is there and nobody was told" for pk in alone - answered)
    yield from (f"{pk} was accepted and is not there" for pk in answered - there)
    for job in jobs:
        if not job.told:
            yield f"job {job.pk} has no event"
        if job.upload and not job.erased_at and not default_storage.exists(job.upload):
            yield f"job {job.pk} has lost its upload"
    yield from _find_strays({job.upload for job in jobs})
    for batch in batches:
        if batch.total != batch.members:
            yield f"batch {batch.pk} has {batch.members} jobs of {batch.total}"


def _find_strays(known: set[str]) -> Iterator[str]:
    for path in settings.MEDIA_ROOT.rglob("*"):
        name = str(path.relative_to(settings.MEDIA_ROOT))
        if path.is_file() and name not in known and not name.startswith("raw/"):
            yield f"the file {name} belongs to nothing"
