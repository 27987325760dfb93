"""Search over real PostgreSQL: what is found, in which order, where it is heard."""

import json
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.utils import timezone

from jobs.batches import records
from jobs.retention import erasure
from jobs.services import JobDraft
from tests.support import batches
from tests.support.factories import make_job, make_key, make_tenant, make_transcript
from tests.support.fake_backend import document
from transcripts.models import SearchEntry, Transcript
from transcripts.search import backlog as index_backlog
from transcripts.search import hits
from transcripts.search import ranking as search_ranking

pytestmark = pytest.mark.django_db


def say(tenant, text: str, *, job=None, options=None, **fields: Any) -> str:
    """Store what was said, a word a second; return the job's id."""
    job = job or make_job(tenant, status="completed", options=options or {})
    make_transcript(job, json.dumps(document(text)).encode(), text=text, **fields)
    return str(job.pk)


def search(client, key: str, **query: Any) -> Any:
    return client.get(
        "/v1/transcripts", query, headers={"Authorization": f"Bearer {key}"}
    )


def found(client, key: str, q: str, **more: Any) -> list[str]:
    answer = search(client, key, q=q, **more)
    assert answer.status_code == 200, answer.content
    return [hit["job_id"] for hit in answer.json()["data"]]


@pytest.fixture
def tenant():
    return make_tenant()


@pytest.fixture
def key(tenant):
    return make_key(tenant)[1]


def test_a_hit_has_the_place_and_its_time_in_the_audio(client, tenant, key):
    words = "so I was told that my money comes back but there is no Refund, yet"
    job = say(tenant, words)
    say(tenant, "nothing of that kind")

    answer = search(client, key, q="refunds").json()

    (hit,) = answer["data"]
    assert (hit["job_id"], hit["language"], answer["is_capped"]) == (job, "en", False)
    assert hit["snippets"] == [
        {
            "start_seconds": 13.0,
            "parts": [
                {
                    "text": "my money comes back but there is no ",
                    "is_match": False,
                    "start_seconds": None,
                },
                {"text": "Refund", "is_match": True, "start_seconds": 13.0},
                {"text": ", yet", "is_match": False, "start_seconds": None},
            ],
        }
    ]


def test_a_long_text_is_read_on_where_its_beginning_lacks_something(
    client, tenant, key
):
    filler = ["um"] * 50
    refunds = [*filler, "refund"] * 40  # three places would do, of the one word
    say(tenant, " ".join([*refunds, *filler, "refund", "late", *filler]))

    (both,) = search(client, key, q="refund late").json()["data"]
    (one,) = search(client, key, q="refund").json()["data"]

    assert hits._BEGINNING < 51 * 40
    places = [snippet["start_seconds"] for snippet in both["snippets"]]
    assert 51 * 40 + 50 in places  # where they stand together
    assert [each["start_seconds"] for each in one["snippets"]] == [50, 101, 152]


def test_what_is_not_in_the_beginning_is_found_further_on(client, tenant, key):
    say(tenant, " ".join([*["um"] * 3000, "refund", *["um"] * 30, "refunded"]))

    (hit,) = search(client, key, q="refund").json()["data"]

    assert [each["start_seconds"] for each in hit["snippets"]] == [3000, 3031]


def test_half_a_word_where_the_beginning_ends_is_no_hit(client, tenant, key):
    long = "m" * 30  # fewer words than a beginning may have
    said = " ".join(["storm", *[long] * 40, "storm", *[long] * 210])
    end = hits._CHARACTERS - len("storm")
    say(tenant, f"{said} {'m' * (end - len(said) - 2)} stormless {long}")

    (hit,) = search(client, key, q="storm").json()["data"]

    assert [snippet["start_seconds"] for snippet in hit["snippets"]] == [0, 41]


def test_one_endless_word_has_no_beginning(client, tenant, key):
    say(tenant, f"{'m' * 12_000} refund")

    (hit,) = search(client, key, q="refund").json()["data"]

    assert [snippet["start_seconds"] for snippet in hit["snippets"]] == [1]


def test_a_script_without_spaces_may_begin_late(client, tenant, key):
    say(tenant, " ".join(["um"] * 2000) + " 返金してください refund")

    (hit,) = search(client, key, q="refund").json()["data"]

    ((before, match),) = [snippet["parts"] for snippet in hit["snippets"]]
    assert before["text"].endswith("um 返金してください ")
    assert match["text"] == "refund"


def test_words_phrases_exclusions_alternatives_and_beginnings(client, tenant, key):
    happy = say(tenant, "I am never happy with the delivery")
    sad = say(tenant, "happy to hear that you are never waiting")
    other = say(tenant, "the parcel was lost")

    assert set(found(client, key, "happy never")) == {happy, sad}
    assert found(client, key, '"never happy"') == [happy]
    assert found(client, key, '"never waiting"') == [sad]
    assert found(client, key, "happy -deliveries") == [sad]
    assert found(client, key, 'happy -"never happy"') == [sad]
    assert set(found(client, key, "parcel OR delivery")) == {happy, other}
    assert found(client, key, "deliv*") == [happy]
    assert found(client, key, "'; DROP TABLE \\ & | ! <-> :* (") == []
    assert found(client, key, "parcel & | ! <-> :* ('") == [other]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "query_not_searchable"),
        ("the and of", "query_not_searchable"),
        ("-parcel", "query_not_searchable"),
        ("parcel OR -lost", "query_not_searchable"),
        ("… ?!", "query_not_searchable"),
        ("x" * 10_000, "query_not_searchable"),
        ("x " * 33, "query_not_searchable"),
        ('"' + "x " * 65 + '"', "query_not_searchable"),
        ("京" * 65, "query_not_searchable"),
        ("x-y-" * 33, "query_not_searchable"),
        (
            '"' + "x " * 60 + '" ' + '"' + "y " * 60 + '" a b c d e f g h i',
            "query_not_searchable",
        ),
        (" ".join(f"abc{n}*" for n in range(9)), "query_not_searchable"),
        ("x" * 65 + "*", "query_not_searchable"),
        (
            "\N{ARABIC LIGATURE TEH WITH JEEM WITH MEEM INITIAL FORM}" * 499 + "*",
            "query_not_searchable",
        ),
        ("par\0cel", "parameter_invalid"),
    ],
)
def test_what_cannot_be_searched_for_is_said(client, tenant, key, text, code):
    say(tenant, "the parcel was lost")

    answer = search(client, key, q=text)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["errors"][0]["parameter"] == "q"


def test_each_language_by_its_own_rules(client, tenant, key):
    german = say(tenant, "wir liefern die Pakete heute", language="de-CH")
    english = say(tenant, "two packets were delivered", language="", options={})
    klingon = say(tenant, "Qapla' batlh", options={"language": "tlh"}, language="")
    japanese = say(tenant, "私は東京に行きます", language="ja")

    assert found(client, key, "Paket") == [german]
    assert found(client, key, "packet deliver") == [english]
    assert found(client, key, "qapla") == [klingon]
    assert found(client, key, "東京") == [japanese]
    assert found(client, key, "京東") == []
    assert found(client, key, "liefern OR delivering", language="de") == [german]
    assert found(client, key, "liefern", language="de-AT") == []
    configs = SearchEntry.objects.values_list("config", flat=True)
    assert sorted(configs) == ["english", "german", "simple", "simple"]
    (hit,) = search(client, key, q="東京").json()["data"]
    marked = [p["text"] for p in hit["snippets"][0]["parts"] if p["is_match"]]
    assert marked == ["東京"]


def test_filters_are_laid_over_the_words(client, tenant, key):
    drafts = [
        JobDraft(audio_url="https://audio.example.com/b.wav", metadata={"n": 1.5})
    ]
    batch = batches.submit_batch(
        tenant=tenant,
        api_key=None,
        draft=records.BatchDraft(jobs=drafts, metadata={}),
        now=timezone.now(),
    )
    first = batch.jobs.get()
    in_batch = say(tenant, "hello storm", job=first, confidence=0.5)
    sync = make_job(
        tenant, status="completed", mode="sync", metadata={"a": "b", "t": True}
    )
    say(tenant, "hello storm", job=sync, confidence=0.95)
    now = timezone.now()
    Transcript.objects.filter(pk=in_batch).update(created_at=now - timedelta(days=9))
    SearchEntry.objects.filter(pk=in_batch).update(created_at=now - timedelta(days=9))

    for q in ({"q": "storm"}, {}):
        for query, wanted in (
            ({"batch_id": batch.pk}, [in_batch]),
            ({"mode": "sync"}, [str(sync.pk)]),
            ({"metadata.n": "1.5"}, [in_batch]),
            ({"metadata.a": "b", "metadata.t": "true"}, [str(sync.pk)]),
            ({"metadata.a": "c"}, []),
            ({"min_confidence": "0.9"}, [str(sync.pk)]),
            ({"created_after": (now - timedelta(days=1)).isoformat()}, [str(sync.pk)]),
            ({"created_before": (now - timedelta(days=1)).isoformat()}, [in_batch]),
            ({"language": "en", "mode": "async"}, [in_batch]),
            ({}, [str(sync.pk), in_batch]),
        ):
            answer = search(client, key, **q, **query).json()
            assert [hit["job_id"] for hit in answer["data"]] == wanted, (q, query)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_confidence", "1.1"),
        ("min_confidence", "nan"),
        ("language", "en'|!"),
        ("mode", "walk"),
        ("created_after", "soon"),
        ("limit", "0"),
        ("batch_id", "1"),
    ],
)
def test_a_filter_that_is_none_is_refused(client, key, name, value):
    answer = search(client, key, q="x", **{name: value})

    assert answer.json()["code"] == "parameter_invalid"
    assert answer.json()["errors"][0]["parameter"] == name


def test_pages_hold_still_while_transcripts_come_and_go(client, tenant, key):
    jobs = [say(tenant, "storm " * n + "calm " * (20 - n)) for n in range(1, 8)]
    best_first = jobs[::-1]
    first = search(client, key, q="storm", limit=3).json()
    assert [hit["job_id"] for hit in first["data"]] == best_first[:3]
    say(tenant, "storm " * 20)
    Transcript.objects.filter(pk=best_first[4]).delete()

    second = search(client, key, q="storm", limit=3, cursor=first["next_cursor"]).json()

    assert [hit["job_id"] for hit in second["data"]] == [
        best_first[3],
        *best_first[5:7],
    ]
    assert (second["has_more"], second["next_cursor"]) == (False, None)
    for query in ({"q": "calm"}, {"q": "storm", "mode": "async"}, {}):
        answer = search(client, key, **query, cursor=first["next_cursor"])
        assert answer.json()["code"] == "cursor_invalid", query


def test_without_words_the_newest_come_first_page_by_page(client, tenant, key):
    jobs = [say(tenant, f"word {n}") for n in range(5)]
    seen, cursor = [], {}
    for _ in range(3):
        page = search(client, key, limit=2, **cursor).json()
        seen += [hit["job_id"] for hit in page["data"]]
        cursor = {"cursor": page["next_cursor"]}
    assert (seen, page["has_more"]) == (jobs[::-1], False)
    assert {(hit["rank"], len(hit["snippets"])) for hit in page["data"]} == {(None, 0)}


def test_no_tenant_finds_what_another_said(client, tenant, key):
    other = make_tenant()
    say(other, "their secret storm")
    mine = say(tenant, "my storm")
    fact = f"=t:{other.pk.hex}"

    assert found(client, key, "storm") == [mine]
    assert found(client, key, f"storm OR {fact} OR secret") == [mine]
    assert found(client, key, f'"{fact}"') == []


@pytest.mark.parametrize("recent", [2, 4, 4000])
def test_of_a_frequent_word_the_newest_are_ranked(
    client, tenant, key, monkeypatch, recent
):
    monkeypatch.setattr(search_ranking, "RANKED", 3)
    monkeypatch.setattr(search_ranking, "_RECENT", recent)
    old = say(tenant, "an old calm squall")
    week_ago = timezone.now() - timedelta(days=7)
    Transcript.objects.filter(pk=old).update(created_at=week_ago, is_indexed=False)
    SearchEntry.objects.all().delete()
    index_backlog.index_unindexed(limit=1)
    jobs = [say(tenant, "storm " * (9 - n) + "calm " * n) for n in range(5)]

    answer = search(client, key, q="storm").json()

    assert [hit["job_id"] for hit in answer["data"]] == jobs[2:]
    assert answer["is_capped"] is True
    assert found(client, key, "calm old squall") == [old]


def test_erased_transcripts_leave_the_index(client, tenant, key):
    job = make_job(tenant, status="completed")
    say(tenant, "their secret storm", job=job)

    erasure.erase_job(job=job, actor="me", now=timezone.now())

    assert found(client, key, "storm") == []
    assert not SearchEntry.objects.exists()


def test_what_was_stored_without_is_indexed_in_slices(client, tenant, key, monkeypatch):
    jobs = [say(tenant, "old storm") for _ in range(5)]
    SearchEntry.objects.all().delete()
    Transcript.objects.update(is_indexed=False, starts=b"")
    Transcript.objects.filter(pk=jobs[0]).update(raw="gone")
    monkeypatch.setattr(index_backlog, "_SLICE", 2)

    assert index_backlog.index_unindexed(limit=3) == 3
    assert found(client, key, "storm") == jobs[2::-1]
    assert index_backlog.index_unindexed(limit=100) == 2
    assert index_backlog.index_unindexed(limit=100) == 0
    hits = search(client, key, q="storm").json()["data"]
    places = {hit["job_id"]: hit["snippets"][0]["start_seconds"] for hit in hits}
    assert places == {jobs[0]: None, **dict.fromkeys(jobs[1:], 1.0)}


def test_a_text_past_all_limits_is_stored_and_found(client, tenant, key):
    long = " ".join(f"w{n % 9000}" for n in range(60_000)) + " storm"
    hostile = " ".join(f"a{n}-b{n}.example.com/storm{n}" for n in range(40_000))
    calls = [say(tenant, text) for text in (long, hostile)]

    assert found(client, key, "storm") == calls[:1]
    assert found(client, key, "a7-b7.example.com") == calls[1:]
    (hit,) = search(client, key, q="storm").json()["data"]
    assert hit["snippets"][0]["start_seconds"] == 60_000.0


def test_as_much_as_a_query_may_have_is_searched_for(client, tenant, key):
    prefixes = " ".join(f"word{n}*" for n in range(8))
    text = " ".join(f"word{n}" for n in range(90))
    job = say(tenant, text)
    phrase = " ".join(f"word{n}" for n in range(30, 90))

    assert found(client, key, prefixes) == [job]
    assert found(client, key, f'"{phrase}"') == [job]
    assert found(client, key, " OR ".join(f"word{n}" for n in range(32))) == [job]
    assert found(client, key, "x" * 64 + "*") == []


def test_a_search_that_takes_too_long_is_refused(client, tenant, key, monkeypatch):
    say(tenant, "the parcel was lost")
    slow = "SELECT count(*), NULL, NULL FROM pg_sleep(30)"
    monkeypatch.setattr(search_ranking, "_RANK", slow)
    monkeypatch.setattr(search_ranking, "STATEMENT_SECONDS", 0.01)

    answer = search(client, key, q="parcel")

    assert answer.status_code == 400
    assert answer.json()["code"] == "query_too_expensive"
    assert search(client, key).status_code == 200


def test_another_trouble_of_the_database_is_not_the_searchs(
    client, tenant, key, monkeypatch
):
    say(tenant, "the parcel was lost")
    client.raise_request_exception = False
    broken = OperationalError("the connection is lost")
    monkeypatch.setattr(search_ranking, "_find_best", Mock(side_effect=broken))

    assert search(client, key, q="parcel").status_code == 503


def test_metadata_that_no_job_can_have_is_not_looked_for(client, key):
    longest = "x" * 512

    assert search(client, key, **{f"metadata.{longest}": longest}).status_code == 200
    for name, value in ((longest + "x", "1"), ("a", longest + "x")):
        answer = search(client, key, **{f"metadata.{name}": value})
        assert answer.status_code == 400
        assert answer.json()["code"] == "parameter_invalid"
