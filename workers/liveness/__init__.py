"""Proof that a process is alive: heartbeats, liveness files, shutdown."""
