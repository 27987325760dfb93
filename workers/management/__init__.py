"""Management commands that start processes or talk to Deepgram."""
