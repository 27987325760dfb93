"""The REST calls of the demo, as any customer would make them."""

import json
from types import TracebackType
from typing import Any, Self

import httpx

from workers.demo import corpus
from workers.demo.submission import DemoSubmission


class UnexpectedAnswer(Exception):
    """The platform refused what the demo had a right to."""


class Client:
    """A customer with an API key."""

    def __init__(self, base_url: str, api_key: str, receiver: str) -> None:
        self._receiver = receiver
        self._http = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {api_key}"},
            timeout=20,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def submit(self, submission: DemoSubmission) -> None:
        """Submit a recording, note its job; raise UnexpectedAnswer if refused."""
        fields = {
            "options": submission.options(),
            "metadata": {"file": submission.name},
        }
        plain = {
            "priority": submission.priority,
            "callback_url": f"{self._receiver}/webhooks",
        }
        if submission.by_url:
            url = f"{self._receiver}/{submission.name}"
            body = {**fields, **plain, "audio_url": url}
            answer = self._http.post("/v1/jobs", json=body)
        else:
            texts = {name: json.dumps(value) for name, value in fields.items()}
            with submission.recording.path.open("rb") as audio:
                answer = self._http.post(
                    "/v1/jobs",
                    data={**texts, **plain},
                    files={"file": (submission.name, audio)},
                )
        submission.job_id = _accepted(answer)["id"]
        self.refresh(submission)

    def refresh(self, submission: DemoSubmission) -> None:
        """Read the job's status and attempts."""
        job = _accepted(self._http.get(f"/v1/jobs/{submission.job_id}"))
        submission.status = job["status"]
        submission.attempts = job["attempt"]

    def submit_broken(self) -> tuple[int, str]:
        """Submit what is no audio; return the status and the error code."""
        with corpus.BROKEN.open("rb") as audio:
            answer = self._http.post(
                "/v1/jobs", files={"file": (corpus.BROKEN.name, audio)}
            )
        return answer.status_code, str(answer.json().get("code", ""))


def _accepted(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        request = answer.request
        raise UnexpectedAnswer(
            f"{request.method} {request.url} was answered {answer.status_code}:\n"
            f"{answer.text[:2000]}"
        )
    found: dict[str, Any] = answer.json()
    return found
