"""Limits on threads and slots, fair between tenants, within one process."""
