"""Live transcription: GET /v1/listen with a WebSocket upgrade.

`handshake` accepts or refuses a stream and `session` runs it. A decoder turns its audio
into samples, a `RecognizerSession` turns them into events, `messages` writes those.
"""
