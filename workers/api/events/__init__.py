"""GET /v1/…/events: server-sent events for jobs, batches and tenants."""
