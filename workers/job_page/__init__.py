"""The operators' page of one job: what happened when, how it sounds, what it says.

What is looked at of a customer's is written down: see ``looks``.
"""
