"""The Deepgram backend: prerecorded calls, live connections, errors, reconciliation."""
