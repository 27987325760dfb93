"""Statistics for the dashboard, /health and Prometheus.

Each reads rows or the permits in Redis with a bounded query. Read-only.
"""
