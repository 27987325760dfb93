"""Admin page of one job: timeline, audio and transcript.

What is looked at of a customer's is written down: see ``looks``.
"""
