"""Deepgram's request parameters, model catalog and error responses."""
