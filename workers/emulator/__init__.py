"""A Deepgram-compatible server for tests, load and the offline demo.

Runs as a separate process, started by `manage.py deepgram_emulator` or
`python -m workers.emulator`, and imports neither Django nor the platform. Every
document names its engine in `metadata.model_info`, so that its words are not mistaken
for Deepgram's.
"""
