"""Search over 100,000 transcripts of one tenant, beside 25,000 of fifty others.

Words are as frequent as in natural texts (Zipf), half of them are stop words; a text has
100 to 700 words, one in fifty has 8,000 (an hour). "refund" is in half of the texts,
"delay" in another half, "storm" in one of a hundred. Each round calls the view with key
and throttle, without a server; the first round of each query is not counted. Each
text occurs twenty times, which does not shorten the lists of the index.
"""

import itertools
import json
import os
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

from django.db import connection
from django.test import Client

from jobs.accounts import authentication
from jobs.models import Tenant
from tests.bench import yardstick
from tests.bench.claim import shorten
from tests.bench.rows import Row, at_most, median, percentile
from tests.support import ROOT
from workers.liveness import startup

TRANSCRIPTS, ALIKE, OTHERS = 100_000, 20, 50
ROUNDS, BLOCK = 40, 5
LIMIT_MS = 50.0
EXPLAINED = ROOT / "docs" / "bench" / "search_explain.txt"
QUERIES: dict[str, dict[str, str]] = {
    "one in a hundred": {"q": "storm"},
    "in half of all": {"q": "refund"},
    "two, each in half": {"q": "refund delay"},
    "phrase of frequent words": {"q": '"refund delay"'},
    "either": {"q": "refund OR storm"},
    "exclusion": {"q": "refund -storm"},
    "beginning": {"q": "refu*"},
    "common words": {"q": "bato keti"},
    "half, by metadata": {"q": "refund", "metadata.order": "77"},
    "half, by date and language": {
        "q": "refund",
        "language": "en",
        "created_after": f"{datetime.now(UTC) - timedelta(days=10):%Y-%m-%dT%XZ}",
    },
    "no words: the newest": {},
    "no words, by mode": {"mode": "async"},
}
_STOP = ("the", "and", "of", "to", "a", "in", "that", "it", "is", "was", "for", "on")
_JOBS = """
INSERT INTO jobs_job (
  id, tenant_id, mode, audio_url, upload, filename, content_type, sha256, options,
  metadata, callback_url, status, finished_at, priority, lane, ready,
  worker, lease_token, attempt, max_attempts, crashes, error_code, error_detail,
  warnings, created_at)
SELECT
  (lpad(to_hex(1700000000000 + n * 10000), 12, '0') || '7000a'
   || substr(md5(n::text), 1, 15))::uuid,
  CASE WHEN n %% 5 > 0 THEN %(tenant)s::uuid
       ELSE (%(others)s::uuid[])[1 + n / 5 %% 50] END,
  'async', 'https://audio.example.com/' || n || '.wav', '', '', '', '',
  '{"model": "nova-3"}', jsonb_build_object('order', (n %% 1000)::text), '',
  'completed', now(), 6, '*', false, '', 1, 1, 5, 0, '', '', '[]',
  now() - (%(rows)s - n) * interval '10 s'
FROM generate_series(1, %(rows)s) AS n
"""
_TRANSCRIPTS = """
INSERT INTO transcripts_transcript (
  job_id, text, language, model, confidence, duration_seconds, channels, words,
  request_id, raw, created_at, starts, is_indexed)
SELECT j.id, t.text, 'en', 'nova-3', 0.9, 300, 1, 500, '', 'raw', j.created_at, t.starts,
  true
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM jobs_job) j
JOIN bench_text t ON t.n = j.n %% %(texts)s
"""
_ENTRIES = """
INSERT INTO transcripts_searchentry (
  transcript_id, tenant_id, created_at, confidence, config, rule, search)
SELECT j.id, j.tenant_id, j.created_at, 0.9, 'english', 2, t.search || array_to_tsvector(ARRAY[
  '=t:' || replace(j.tenant_id::text, '-', ''), '=m:async', '=l:en',
  '=d:' || to_char(j.created_at AT TIME ZONE 'UTC', 'YYYYMMDD'),
  '=k:' || substr(encode(sha256(
    convert_to('5:order=' || (j.metadata->>'order'), 'utf8')), 'hex'), 1, 24)])
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM jobs_job) j
JOIN bench_text t ON t.n = j.n %% %(texts)s
"""


def run() -> list[Row]:
    """Measure, and write the plans down."""
    client, key = Client(), fill()
    startup.freeze_startup_objects(routes=True)  # as a web process does
    rows, all_factors = [], []
    for name, query in QUERIES.items():
        ask(client, key, query)
        spent, times, factors = 0.0, [], []
        for _ in range(ROUNDS // BLOCK):
            before = cpu_seconds()
            times += [ask(client, key, query) for _ in range(BLOCK)]
            spent += (cpu_seconds() - before) / ROUNDS * 1000
            factors.append(yardstick.sample())
        limit = LIMIT_MS * fmean(factors)
        all_factors += factors
        rows.append(
            Row(
                bench="search",
                figure=f"{name}: p50, p95 (CPU)",
                ours=f"{percentile(times, 0.5):.1f} ms,"
                f" {percentile(times, 0.95):.1f} ms ({spent:.1f})",
                **at_most(percentile(times, 0.95), limit, " ms"),
            )
        )
    explain(client, key)
    return [yardstick.build_row("search", median(all_factors)), *rows]


def ask(client: Client, key: str, query: dict[str, str]) -> float:
    """Search once; return the milliseconds."""
    began = time.perf_counter()
    answer = client.get(
        "/v1/transcripts", query, headers={"Authorization": f"Bearer {key}"}
    )
    took = time.perf_counter() - began
    if answer.status_code != 200 or not answer.json()["data"]:
        raise RuntimeError(f"{query}: {answer.status_code}, {answer.content[:200]!r}")
    return took * 1000


def cpu_seconds() -> float:
    """Return what this process and its PostgreSQL backend have used."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    fields = Path(f"/proc/{backend}/stat").read_text().rpartition(") ")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def fill(transcripts: int = TRANSCRIPTS) -> str:
    """Make the tenants and what was said; return the key of the one that asks."""
    tenant = Tenant.objects.create(name="searching", requests_per_minute=0)
    others = Tenant.objects.bulk_create(
        Tenant(name=f"other-{n}") for n in range(OTHERS)
    )
    texts = transcripts * 5 // 4 // ALIKE + 1
    given: dict[str, Any] = {
        "tenant": tenant.pk,
        "others": [other.pk for other in others],
        "rows": transcripts * 5 // 4,
        "texts": texts,
    }
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE bench_text (n int, text text, starts bytea)")
        with cursor.copy("COPY bench_text FROM STDIN") as copy:
            for number, text in enumerate(make_texts(texts)):
                words = text.count(" ") + 1
                starts = b"".join((40 * n).to_bytes(3, "big") for n in range(words))
                copy.write_row((number, text, starts))
        cursor.execute("ALTER TABLE bench_text ADD search tsvector")
        cursor.execute("UPDATE bench_text SET search = to_tsvector('english', text)")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DROP INDEX search_words")
        for sql in (_JOBS, _TRANSCRIPTS, _ENTRIES):
            cursor.execute(sql, given)
        cursor.execute("SET session_replication_role = origin")
        cursor.execute(
            "CREATE INDEX search_words ON transcripts_searchentry USING gin (search)"
            " WITH (gin_pending_list_limit = 512)"
        )
        cursor.execute("DROP TABLE bench_text")
        for table in ("jobs_job", "transcripts_transcript", "transcripts_searchentry"):
            cursor.execute(f"VACUUM ANALYZE {table}")
    return authentication.create_api_key(tenant=tenant)[1]


def make_texts(number: int) -> list[str]:
    """Return texts with words as frequent as words are."""
    chance = random.Random(7)
    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u")]
    words = ["".join(pair) for pair in itertools.product(syllables, repeat=2)]
    words += ["".join(chance.choices(syllables, k=3)) for _ in range(16_000)]
    chance.shuffle(words)
    words[5], words[6] = "bato", "keti"
    shares = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
    texts = []
    for at in range(number):
        length = 8000 if at % 50 == 0 else chance.randint(100, 700)
        said = chance.choices(words, cum_weights=shares, k=length)
        said[::2] = chance.choices(_STOP, k=len(said[::2]))
        for word, share in (("refund", 0.5), ("delay", 0.5), ("storm", 0.01)):
            if chance.random() < share:
                for _ in range(chance.randint(1, 4)):
                    said[chance.randrange(length)] = word
        texts.append(" ".join(said))
    return texts


def explain(client: Client, key: str) -> None:
    """Write the plan of every statement that a search makes, as it ran."""
    plans: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "transcripts_" in sql and sql.lstrip().startswith(("SELECT", "WITH")):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", params)
                plan = "\n".join(line for (line,) in cursor.fetchall())
            plans.append(f"{shorten(sql, 900)}\n\n{plan}")
        return execute(sql, params, many, context)

    for name in ("one in a hundred", "in half of all", "half, by metadata"):
        plans.append(f"{name}: {json.dumps(QUERIES[name])}")
        with connection.execute_wrapper(note):
            ask(client, key, QUERIES[name])
    head = f"Every statement of three searches over {TRANSCRIPTS:,} transcripts of a tenant.\n"
    EXPLAINED.write_text(head + "".join(f"\n{'=' * 78}\n{plan}\n" for plan in plans))
