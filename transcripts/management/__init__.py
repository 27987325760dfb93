"""Management commands for transcripts."""
