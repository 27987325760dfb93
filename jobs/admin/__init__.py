"""Django admin pages of tenants, keys, regions, jobs, batches and records."""

from jobs.admin import pages, records

__all__ = ["pages", "records"]
