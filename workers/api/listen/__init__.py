"""Deepgram's API: /v1/listen, /v2/listen, access tokens, models and projects."""
