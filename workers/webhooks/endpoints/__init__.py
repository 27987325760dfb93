"""Endpoints of a tenant: create, change, rotate secrets, ping."""
