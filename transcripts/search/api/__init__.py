"""GET /v1/transcripts: the search endpoint."""
