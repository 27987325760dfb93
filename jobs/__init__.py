"""Tenants, jobs and batches, with their state, scheduling, quotas and API."""
