"""Admin page of one job: timeline, audio and transcript.

``views`` records each access to customer content.
"""
