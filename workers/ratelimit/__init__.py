"""Permits, circuit breakers and inbound rate limits, kept in Redis."""
