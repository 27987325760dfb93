"""Live transcription: GET /v1/listen with a WebSocket upgrade.

`door` decides about the handshake, `session` speaks with the client, `decoding` turns
what arrives into samples, an `Ear` turns samples into events, `messages` writes them.
"""
