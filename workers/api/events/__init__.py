"""GET /v1/…/events: server-sent events of tenants, jobs and batches."""
