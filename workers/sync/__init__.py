"""Calls that their customers wait for, run by the web process itself."""
