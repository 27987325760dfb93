"""Figures for the dashboard, /health and Prometheus.

Each is one bounded look at rows or at the ledger in Redis; nothing here writes.
"""
