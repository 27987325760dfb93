"""Webhook endpoints of a tenant: create, update, delete, rotate secrets, ping."""
