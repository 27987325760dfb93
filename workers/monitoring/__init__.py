"""How the platform does, in figures: for the dashboard and for metrics.

Each is one bounded look at rows or at the ledger in Redis; nothing here writes.
"""
