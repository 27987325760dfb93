"""The Deepgram backend: calls, errors, live connections, reconciliation."""
