"""Customer endpoints that call Deepgram or hold a connection open."""
