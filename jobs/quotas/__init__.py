"""Quotas on open jobs and audio, and usage reports from the ledger."""
