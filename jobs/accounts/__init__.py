"""Tenants, API keys, authentication, and the audit log of who changed what."""
