"""Types of the API's responses. Responses may have additional fields."""

from typing import Any, Literal, NotRequired, TypedDict

JobStatus = Literal[
    "queued", "processing", "completed", "failed", "canceled", "expired"
]
FINAL: frozenset[str] = frozenset({"completed", "failed", "canceled", "expired"})


class Problem(TypedDict):
    """A stable code and a message."""

    code: str
    detail: str


class Job(TypedDict):
    """A job."""

    id: str
    object: str
    status: JobStatus
    mode: str
    batch_id: str | None
    priority: str
    audio: dict[str, Any]
    options: dict[str, Any]
    metadata: dict[str, Any]
    duration_seconds: float | None
    attempt: int
    max_attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    next_attempt_at: str | None
    expires_at: str | None
    erased_at: str | None
    retry_of: str | None
    region: str | None
    error: Problem | None
    warnings: list[Problem]
    result_url: str | None
    custom_id: NotRequired[str | None]


class Attempt(TypedDict):
    """One call of a job to Deepgram."""

    id: str
    outcome: str
    region: str
    request_id: str | None
    trace_id: NotRequired[str | None]
    status_code: int | None
    error_code: str | None
    audio_seconds: float | None
    cost_estimate: str | None
    currency: NotRequired[str]
    started_at: str
    finished_at: str | None


class Batch(TypedDict):
    """A batch and the counts of its jobs by status."""

    id: str
    object: str
    status: str
    counts: dict[str, int]
    metadata: dict[str, Any]
    created_at: str
    finished_at: str | None
    erased_at: str | None
    jobs_url: str
    retry_of: NotRequired[str | None]
    expires_at: NotRequired[str | None]
    skipped: NotRequired[int]
    percent: NotRequired[float]
    audio_seconds_done: NotRequired[float]
    audio_seconds_ahead: NotRequired[float | None]
    cost_estimate: NotRequired[str | None]
    currency: NotRequired[str]
    eta_seconds: NotRequired[float | None]
    outcome: NotRequired[str | None]
    results_url: NotRequired[str | None]
    errors_url: NotRequired[str | None]
    archive_url: NotRequired[str | None]


class Word(TypedDict):
    """A word; times in seconds from the start of the audio."""

    word: str
    start: float
    end: float
    confidence: float
    punctuated_word: NotRequired[str]
    speaker: NotRequired[int]


class Channel(TypedDict):
    """The transcript of one audio channel."""

    transcript: str
    confidence: float | None
    words: list[Word]


class Transcript(TypedDict):
    """The transcript of a job."""

    job_id: str
    object: str
    text: str
    language: str | None
    confidence: float | None
    duration_seconds: float
    model: str | None
    request_id: str | None
    channels: list[Channel]
    utterances: list[dict[str, Any]]
    warnings: list[Problem]


class BatchResult(TypedDict):
    """The result of a completed job of a batch."""

    object: str
    line: int | None
    job_id: str
    custom_id: str | None
    audio_url: str | None
    status: str
    transcript_url: str | None
    duration_seconds: float | None
    language: str | None
    confidence: float | None
    words: int | None
    cost_estimate: str | None
    currency: NotRequired[str]
    attempts: int
    warnings: list[Problem]
    metadata: dict[str, Any]
    created_at: str
    finished_at: str
    erased_at: str | None


class BatchError(TypedDict):
    """A rejected item (``rejected``), or a job without a transcript."""

    object: str
    line: int | None
    pointer: str | None
    excerpt: str | None
    job_id: str | None
    custom_id: str | None
    audio_url: str | None
    status: str
    code: str
    detail: str
    cost_estimate: str | None
    currency: NotRequired[str]
    attempts: int
    metadata: dict[str, Any] | None
    finished_at: str | None
    erased_at: str | None


class SnippetPart(TypedDict):
    """A part of a snippet: a match or the text around it."""

    text: str
    is_match: bool
    start_seconds: float | None


class Snippet(TypedDict):
    """A match in a transcript and its time in the audio."""

    start_seconds: float | None
    parts: list[SnippetPart]


class Hit(TypedDict):
    """A transcript that matches a search."""

    job_id: str
    object: str
    rank: float | None
    snippets: list[Snippet]
    language: str | None
    confidence: float | None
    duration_seconds: float
    words: int
    mode: str
    batch_id: str | None
    custom_id: NotRequired[str | None]
    filename: str | None
    metadata: dict[str, Any]
    created_at: str
    transcript_url: str


class Delivery(TypedDict):
    """The delivery of one event to one endpoint."""

    id: str
    object: str
    message_id: str
    type: str
    endpoint_id: str | None
    url: str | None
    job_id: str | None
    status: Literal["pending", "delivered", "failed", "discarded"]
    attempts: int
    next_attempt_at: str | None
    is_held: bool
    is_redelivering: bool
    created_at: str
    finished_at: str | None


class Endpoint(TypedDict):
    """A webhook endpoint of the tenant."""

    id: str
    object: str
    url: str
    description: str | None
    event_types: list[str] | None
    enabled: bool
    disabled_reason: str | None
    failures: int
    held_reason: str | None
    held_until: str | None
    created_at: str


class Recovery(TypedDict):
    """A recovery: deliveries that are sent again, with counts by status."""

    id: str
    object: str
    endpoint_id: str
    since: str
    until: str
    deliveries: int
    has_more: bool
    counts: dict[str, int]
    created_at: str


class UsageSums(TypedDict):
    """Totals of calls; ``cost_estimate`` is a decimal string."""

    jobs: int
    calls: int
    failed_calls: int
    unknown_calls: int
    audio_seconds: float
    cost_estimate: str | None
    currency: NotRequired[str]


class UsageRow(UsageSums):
    """The totals of one group; has only the fields of ``group_by``."""

    day: NotRequired[str]
    model: NotRequired[str | None]
    region: NotRequired[str]
    key: NotRequired[str | None]
    batch: NotRequired[str | None]


class Usage(TypedDict):
    """A usage report; also has the days ``from`` and ``to``."""

    object: str
    group_by: list[str]
    data: list[UsageRow]
    totals: UsageSums


class Quota(TypedDict):
    """One quota of the tenant."""

    name: str
    limit: int | None
    used: float | None
    reserved: float | None
    remaining: float | None
    resets_at: str | None
