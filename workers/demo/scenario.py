"""Play the demo against a running platform: submit, wait, judge."""

import time

from workers.demo import submission as submissions
from workers.demo.board import Board
from workers.demo.client import Client
from workers.demo.receiver import Inbox
from workers.demo.submission import DemoSubmission
from workers.embedded.supervisor import Supervisor

LONGEST_SECONDS = 150.0
POLL_SECONDS = 0.4


def play(
    client: Client,
    *,
    sent: list[DemoSubmission],
    inbox: Inbox,
    board: Board,
    supervisor: Supervisor,
) -> str:
    """Submit all, wait for the end of all; return how the broken file was refused.

    The supervisor is kept ticking, so Ctrl-C and dying processes are seen here too.
    """
    for each in sent:
        client.submit(each)
        board.draw()
        supervisor.tick()
    status, code = client.submit_broken()
    refusal = f"{status} {code}" if 400 <= status < 500 else ""  # noqa: PLR2004
    end = time.monotonic() + LONGEST_SECONDS
    taken = 0
    while not all(each.is_final for each in sent) and time.monotonic() < end:
        supervisor.tick()
        taken = _take_webhooks(sent, inbox=inbox, board=board, taken=taken)
        for each in sent:
            if each.status not in submissions.FINAL:
                client.refresh(each)
        board.draw()
        time.sleep(POLL_SECONDS)
    board.draw()
    return refusal


def _take_webhooks(
    sent: list[DemoSubmission], *, inbox: Inbox, board: Board, taken: int
) -> int:
    """Note the webhooks that came since the last time; return how many there are."""
    by_job = {each.job_id: each for each in sent}
    for received in inbox.received[taken:]:
        taken += 1
        each = by_job.get(received.job_id)
        board.show_webhook(received, each.name if each else "another job")
        if each and received.type.startswith("job."):
            each.has_webhook = True
            each.is_genuine = received.is_genuine
            result = received.data.get("result") or {}
            each.hear(result.get("text", ""))
    return taken
