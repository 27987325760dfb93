"""Runs the demo against a running platform: submits and waits."""

import time

from workers.demo import submission as submissions
from workers.demo.board import ProgressBoard
from workers.demo.client import Client
from workers.demo.receiver import Inbox
from workers.demo.submission import DemoSubmission
from workers.embedded.supervisor import Supervisor

TIMEOUT_SECONDS = 150.0
POLL_SECONDS = 0.4


def play(
    client: Client,
    *,
    sent: list[DemoSubmission],
    inbox: Inbox,
    board: ProgressBoard,
    supervisor: Supervisor,
) -> str:
    """Submit all and wait for their ends; return the response to the invalid file.

    Calls the supervisor's tick, so that Ctrl-C and process failures are handled.
    """
    for submission in sent:
        client.submit(submission)
        board.draw()
        supervisor.tick()
    status, code = client.submit_broken()
    refusal = f"{status} {code}" if 400 <= status < 500 else ""  # noqa: PLR2004
    deadline = time.monotonic() + TIMEOUT_SECONDS
    processed = 0
    while (
        not all(submission.is_final for submission in sent)
        and time.monotonic() < deadline
    ):
        supervisor.tick()
        processed = _process_webhooks(
            sent, inbox=inbox, board=board, processed=processed
        )
        for submission in sent:
            if submission.status not in submissions.FINAL:
                client.refresh(submission)
        board.draw()
        time.sleep(POLL_SECONDS)
    board.draw()
    return refusal


def _process_webhooks(
    sent: list[DemoSubmission], *, inbox: Inbox, board: ProgressBoard, processed: int
) -> int:
    """Process new webhooks; return the total number."""
    by_job = {submission.job_id: submission for submission in sent}
    for received in inbox.received[processed:]:
        processed += 1
        submission = by_job.get(received.job_id)
        board.show_webhook(received, submission.name if submission else "another job")
        if submission and received.type.startswith("job."):
            submission.has_webhook = True
            submission.is_genuine = received.is_genuine
            result = received.data.get("result") or {}
            submission.set_transcript(result.get("text", ""))
    return processed
