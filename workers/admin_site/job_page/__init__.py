"""Admin page of one job: timeline, audio and transcript.

Access to customer content is recorded: see ``access_audit``.
"""
