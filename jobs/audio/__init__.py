"""Uploaded audio: receive it, probe its duration, read it back."""
