"""/v1/audio/transcriptions: OpenAI's API, compatible with its SDKs."""
