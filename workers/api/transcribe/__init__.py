"""POST /v1/transcribe: the synchronous API and the hybrid router."""
