"""Tracing, log context and metrics of jobs."""
