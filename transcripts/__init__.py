"""Results: run a transcription, store it, format it, search it, export it."""
