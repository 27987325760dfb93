"""Who stores the finals of all sessions, and what of one must not cost the others."""

import asyncio
from contextvars import ContextVar
from uuid import UUID

import psycopg

from transcripts.live.sessions import FinalResult
from workers.api.live import finals
from workers.api.live.finals import FinalsWriter

session = ContextVar("session", default="")


def final(seq, *, job=1):
    return FinalResult(
        job_id=UUID(int=job),
        seq=seq,
        channel=0,
        start=0.0,
        end=1.0,
        speech_final=True,
        alternative={"transcript": "hello", "words": []},
    )


class Writer(FinalsWriter):
    """Stores in a list, as it is told."""

    def __init__(self, *troubles):
        super().__init__()
        self.troubles, self.commits, self.sessions = list(troubles), [], set()

    async def _execute(self, batch):
        self.sessions.add(session.get())
        await asyncio.sleep(0)
        if self.troubles:
            raise self.troubles.pop(0)
        self.commits.append([each.seq for each in batch])
        return {(each.job_id, each.seq) for each in batch if each.job_id.int == 1}


def put_all(writer, batch):
    async def run():
        session.set("the first one's")
        waiting = [writer.put(each) for each in batch]
        async with asyncio.timeout(10):
            return await asyncio.gather(*waiting)

    return asyncio.run(run())


def test_one_commit_takes_all_that_wait_and_works_in_no_sessions_name():
    writer = Writer()

    stored = put_all(writer, [final(1), final(2), final(3, job=2)])

    assert stored == [True, True, False]
    assert writer.commits == [[1, 2, 3]]
    assert writer.sessions == {""}


def test_what_waits_while_the_database_is_away_is_stored_later(monkeypatch):
    monkeypatch.setattr(finals, "RETRY_SECONDS", 0.001)
    writer = Writer(psycopg.OperationalError("away"), psycopg.InterfaceError("gone"))

    assert put_all(writer, [final(1), final(2)]) == [True, True]
    assert writer.commits == [[1, 2]]


def test_one_that_cannot_be_stored_costs_no_other():
    writer = Writer(psycopg.DataError("of all"), psycopg.DataError("of the first"))

    assert put_all(writer, [final(1), final(2)]) == [True, True]
    assert writer.commits == [[2]]
