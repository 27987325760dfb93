"""POST /v1/transcribe: transcribes at once, queues, or opens a live session."""
