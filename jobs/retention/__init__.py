"""Retention periods, erasure with receipts, deletion of stored objects."""
