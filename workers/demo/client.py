"""The REST calls of the demo."""

import json
from typing import Any

import httpx

from workers.demo import corpus
from workers.demo.submission import DemoSubmission


class UnexpectedResponse(Exception):
    """The platform rejected a valid request."""


class Client(httpx.Client):
    """A client of the REST API; `receiver` is the base URL for callbacks and audio."""

    def __init__(self, base_url: str, api_key: str, receiver: str) -> None:
        super().__init__(
            base_url=base_url,
            headers={"authorization": f"Bearer {api_key}"},
            timeout=20,
            trust_env=False,
        )
        self._receiver = receiver

    def submit(self, submission: DemoSubmission) -> None:
        """Submit a recording and store its job id; raises UnexpectedResponse."""
        fields = {
            "options": submission.options(),
            "metadata": {"file": submission.name},
        }
        fields_as_text = {
            "priority": submission.priority,
            "callback_url": f"{self._receiver}/webhooks",
        }
        if submission.by_url:
            url = f"{self._receiver}/{submission.name}"
            body = {**fields, **fields_as_text, "audio_url": url}
            response = self.post("/v1/jobs", json=body)
        else:
            texts = {name: json.dumps(value) for name, value in fields.items()}
            with submission.recording.path.open("rb") as audio:
                response = self.post(
                    "/v1/jobs",
                    data={**texts, **fields_as_text},
                    files={"file": (submission.name, audio)},
                )
        submission.job_id = _read_json(response)["id"]
        self.refresh(submission)

    def refresh(self, submission: DemoSubmission) -> None:
        """Read the job's status and attempts."""
        job = _read_json(self.get(f"/v1/jobs/{submission.job_id}"))
        submission.status = job["status"]
        submission.attempts = job["attempt"]

    def submit_broken(self) -> tuple[int, str]:
        """Submit an invalid file; return the status and the error code."""
        with corpus.BROKEN.open("rb") as audio:
            response = self.post(
                "/v1/jobs", files={"file": (corpus.BROKEN.name, audio)}
            )
        return response.status_code, str(response.json().get("code", ""))


def _read_json(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        request = response.request
        raise UnexpectedResponse(
            f"{request.method} {request.url} returned {response.status_code}:\n"
            f"{response.text[:2000]}"
        )
    content: dict[str, Any] = response.json()
    return content
