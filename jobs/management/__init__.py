"""Management commands for tenants, keys, regions and quotas."""
