"""Deepgram's own API, answered by this platform: an SDK needs only another base URL."""
