"""REST toolkit for all endpoints: base view, parsers, pagination, idempotency."""
