"""A Deepgram-compatible server for tests, load and the offline demo.

It is always a process of its own on a real socket, started by
`manage.py deepgram_emulator` or `python -m workers.emulator`, and it imports
neither Django nor the platform. Every document says in `metadata.model_info` which
engine made it, so nobody can take its words for Deepgram's.
"""
