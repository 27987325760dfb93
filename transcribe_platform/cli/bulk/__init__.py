"""Submits files and batches, follows them and saves their transcripts."""
