"""Permits, circuit breakers and request throttles, stored in Redis."""
