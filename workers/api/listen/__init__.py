"""/v1/listen: Deepgram's own API, compatible with its SDKs."""
